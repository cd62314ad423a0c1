/* ECDSA (PKCS #11 3.2, 6.3). */
#include "crypto/asym.h"
#include "crypto/ec_point.h"
#include "crypto/mech.h"
#include "object/objects.h"

/* "Input the entire raw digest. Internally, this will be truncated": OpenSSL does that. Only no digest at all is refused:
 * it counts as 0, and for 0 anybody can make signatures. */
static CK_RV sign(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature)
{
  return len > 0 ? tok_asym_rs_sign(asym, data, len, signature) : CKR_DATA_LEN_RANGE;
}

/* Signatures are of even length, and may be shorter than those that we make if r and s are small ("EC Signatures"). */
static CK_RV verify(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                    CK_ULONG signature_len)
{
  if (len == 0) return CKR_DATA_LEN_RANGE;
  if (signature_len == 0 || signature_len % 2 != 0 || signature_len > asym->size) return CKR_SIGNATURE_LEN_RANGE;
  return tok_asym_rs_verify(asym, data, len, signature, signature_len);
}

static const struct tok_asym_type ecdsa = {sign, verify};

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  const struct tok_curve *curve = NULL;
  struct tok_asym *asym = NULL;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = tok_attrs_curve(&op->key->attrs, &curve);
  if (rv != CKR_OK) return CKR_KEY_HANDLE_INVALID;
  if (curve->kind != TOK_WEIERSTRASS) return CKR_KEY_TYPE_INCONSISTENT; /* NSS's curve25519 under CKK_EC */
  rv = tok_asym_start(op, mechanism, &ecdsa, TOK_HASH_OF(op->mech->arg), curve->bits, NULL, &asym);
  if (rv != CKR_OK) return rv;
  asym->size = curve->signature;
  asym->order = curve->signature / 2;
  return CKR_OK;
}

const struct tok_family tok_family_ecdsa = {.sign = start};
