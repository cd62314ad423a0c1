/* DSA (PKCS #11 3.2, 6.2). */
#include <openssl/evp.h>

#include "crypto/asym.h"
#include "crypto/mech.h"
#include "object/objects.h"

/* CKM_DSA takes the output of one of the usual hashes: "20, 28, 32, 48, or 64 bytes". */
static bool is_digest(CK_ULONG len)
{
  return len == 20 || len == 28 || len == 32 || len == 48 || len == 64;
}

static CK_RV sign(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature)
{
  return is_digest(len) ? tok_asym_rs_sign(asym, data, len, signature) : CKR_DATA_LEN_RANGE;
}

static CK_RV verify(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                    CK_ULONG signature_len)
{
  if (!is_digest(len)) return CKR_DATA_LEN_RANGE;
  if (signature_len != asym->size) return CKR_SIGNATURE_LEN_RANGE;
  return tok_asym_rs_verify(asym, data, len, signature, signature_len);
}

static const struct tok_asym_type dsa = {sign, verify};

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  struct tok_asym *asym = NULL;
  CK_ULONG prime = 0, order = 0;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  /* Numbers are stored without leading zeros, and a prime of DSA has a length that is a multiple of 8 bits. */
  tok_attrs_get(&op->key->attrs, CKA_PRIME, &prime);
  tok_attrs_get(&op->key->attrs, CKA_SUBPRIME, &order);
  if (order > 64) return CKR_KEY_SIZE_RANGE;
  CK_RV rv = tok_asym_start(op, mechanism, &dsa, TOK_HASH_OF(op->mech->arg), 8 * prime, NULL, &asym);
  if (rv != CKR_OK) return rv;
  asym->order = order;
  asym->size = 2 * order;
  return CKR_OK;
}

const struct tok_family tok_family_dsa = {.sign = start};
