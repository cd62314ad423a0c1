/* RSA signatures: PKCS #1 v1.5, PSS and raw (PKCS #11 3.2, 6.1). */
#include "crypto/rsa.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <string.h>

#include "crypto/args.h"
#include "crypto/asym.h"
#include "crypto/mech.h"
#include "object/objects.h"

CK_RV tok_rsa_size(const struct tok_op *op, CK_ULONG *bits, CK_ULONG *bytes)
{
  CK_ULONG len = 0;
  const CK_BYTE *n = tok_attrs_get(&op->key->attrs, CKA_MODULUS, &len); /* without leading zeros */
  if (n == NULL || len == 0) return CKR_KEY_HANDLE_INVALID;
  *bits = 8 * (len - 1);
  for (unsigned top = n[0]; top != 0; top >>= 1) (*bits)++;
  *bytes = len;
  return *bits >= op->mech->min && *bits <= op->mech->max ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

CK_RV tok_rsa_pad(const struct tok_object *key, const CK_BYTE *data, CK_ULONG len, CK_BYTE *block, CK_ULONG size)
{
  const CK_BYTE *n = tok_attrs_get(&key->attrs, CKA_MODULUS, NULL);
  if (len > size) return CKR_DATA_LEN_RANGE;
  memset(block, 0, size - len);
  memcpy(block + size - len, data, len);
  return memcmp(block, n, size) < 0 ? CKR_OK : CKR_DATA_INVALID;
}

/* CKM_RSA_PKCS: 00 01 ff ... 00 data (RFC 8017, 9.2, but the caller has made the DigestInfo). */
static CK_RV pad_pkcs(const CK_BYTE *data, CK_ULONG len, CK_BYTE *block, CK_ULONG size)
{
  if (len > size - 11) return CKR_DATA_LEN_RANGE;
  memset(block, 0xff, size - len);
  block[0] = 0;
  block[1] = 1;
  block[size - len - 1] = 0;
  memcpy(block + size - len, data, len);
  return CKR_OK;
}

static CK_RV pad(const struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *block)
{
  return TOK_RSA_OF(asym->mech->arg) == TOK_RSA_RAW ? tok_rsa_pad(asym->key, data, len, block, asym->size)
                                                    : pad_pkcs(data, len, block, asym->size);
}

static CK_RV sign_block(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature)
{
  CK_BYTE block[TOK_MAX_RSA];
  size_t size = asym->size;
  CK_RV rv = pad(asym, data, len, block);
  return rv == CKR_OK ? tok_asym_raw_sign(asym, block, asym->size, signature, &size) : rv;
}

/* The whole block is made and compared, nothing is read out of what the signature gives. */
static CK_RV verify_block(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                          CK_ULONG signature_len)
{
  CK_BYTE block[TOK_MAX_RSA];
  CK_RV rv = pad(asym, data, len, block);
  if (rv != CKR_OK) return rv;
  if (signature_len != asym->size) return CKR_SIGNATURE_LEN_RANGE;
  return tok_asym_raw_verify(asym, block, asym->size, signature, signature_len);
}

/* A hash, its own or the caller's: OpenSSL puts it into DigestInfo or PSS. */
static CK_RV sign_hash(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature)
{
  size_t size = asym->size;
  return len == asym->order ? tok_asym_raw_sign(asym, data, len, signature, &size) : CKR_DATA_LEN_RANGE;
}

static CK_RV verify_hash(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                         CK_ULONG signature_len)
{
  if (len != asym->order) return CKR_DATA_LEN_RANGE;
  if (signature_len != asym->size) return CKR_SIGNATURE_LEN_RANGE;
  return tok_asym_raw_verify(asym, data, len, signature, signature_len);
}

static const struct tok_asym_type block_type = {sign_block, verify_block}, hash_type = {sign_hash, verify_hash};

/* CK_RSA_PKCS_PSS_PARAMS: the hash is the mechanism's if that has one; the salt must fit. */
static CK_RV read_pss(CK_MECHANISM_PTR mechanism, enum tok_hash own, CK_ULONG bits, enum tok_hash *hash,
                      enum tok_hash *mgf, int *salt)
{
  const CK_RSA_PKCS_PSS_PARAMS *params = tok_mech_param(mechanism, sizeof *params);
  if (params == NULL) return CKR_MECHANISM_PARAM_INVALID;
  *hash = tok_hash_by_mechanism(params->hashAlg);
  *mgf = tok_hash_by_mgf(params->mgf);
  if (*hash == TOK_HASH_NONE || *hash == TOK_MD5 || *mgf == TOK_HASH_NONE) return CKR_MECHANISM_PARAM_INVALID;
  if (own != TOK_HASH_NONE && own != *hash) return CKR_MECHANISM_PARAM_INVALID;
  CK_ULONG block = (bits - 1 + 7) / 8, used = tok_hash_size(*hash) + 2;
  if (used > block || params->sLen > block - used) return CKR_MECHANISM_PARAM_INVALID;
  *salt = (int)params->sLen;
  return CKR_OK;
}

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  struct tok_asym *asym = NULL;
  CK_ULONG bits = 0, size = 0;
  unsigned form = TOK_RSA_OF(op->mech->arg);
  enum tok_hash own = TOK_HASH_OF(op->mech->arg), hash = own, mgf = TOK_HASH_NONE;
  OSSL_PARAM params[5], *param = params;
  int padding = RSA_NO_PADDING, salt = 0;
  if (op->kind == TOK_VERIFY_RECOVER) return tok_rsa_recover(op, mechanism);
  CK_RV rv = tok_rsa_size(op, &bits, &size);
  if (rv != CKR_OK) return rv;
  if (form == TOK_RSA_PSS)
    rv = read_pss(mechanism, own, bits, &hash, &mgf, &salt);
  else if (!tok_mech_bare(mechanism))
    rv = CKR_MECHANISM_PARAM_INVALID;
  if (rv != CKR_OK) return rv;
  if (hash != TOK_HASH_NONE) {
    padding = form == TOK_RSA_PSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
    *param++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, (char *)tok_hash_name(hash), 0);
  }
  *param++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE, &padding);
  if (form == TOK_RSA_PSS) {
    *param++ = OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, (char *)tok_hash_name(mgf), 0);
    *param++ = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &salt);
  }
  *param = OSSL_PARAM_construct_end();
  rv = tok_asym_start(op, mechanism, hash != TOK_HASH_NONE ? &hash_type : &block_type, own, bits, params, &asym);
  if (rv != CKR_OK) return rv;
  asym->size = size;
  asym->order = tok_hash_size(hash);
  return CKR_OK;
}

const struct tok_family tok_family_rsa = {.sign = start, .cipher = tok_rsa_cipher};
