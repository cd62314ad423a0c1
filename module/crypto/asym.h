/* What the signature mechanisms of asymmetric keys share: data that is hashed as it comes, or is the hash already. */
#ifndef TOK_ASYM_H
#define TOK_ASYM_H

#include <openssl/types.h>

#include "crypto/hash.h"
#include "crypto/op.h"
#include "crypto/park.h"
#include "pkcs11.h"

struct tok_asym;

/* What a family does with the hash, or with the data itself if there is no hash in the mechanism. */
struct tok_asym_type {
  /* `signature` has asym->size bytes and is filled. CKR_DATA_LEN_RANGE, CKR_DATA_INVALID, CKR_FUNCTION_FAILED. */
  CK_RV (*sign)(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature);
  /* CKR_OK, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE, CKR_DATA_LEN_RANGE. */
  CK_RV(*verify)
  (struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature, CK_ULONG signature_len);
};

struct tok_asym {
  struct tok_parked parked; /* first: see park.h */
  bool whole;               /* the signature has been made or verified: `ctx` and `md` can be used again */
  CK_BYTE param[24];        /* the mechanism's parameter, as it was */
  CK_ULONG param_len;
  const struct tok_asym_type *type;
  const struct tok_mech *mech;
  struct tok_object *key;
  EVP_PKEY *pkey;    /* the key object's */
  EVP_PKEY_CTX *ctx; /* initialised for signing or verifying */
  EVP_MD_CTX *md;    /* NULL: no hash */
  enum tok_hash hash;
  CK_ULONG size;  /* of a signature in bytes, as PKCS #11 has it */
  CK_ULONG order; /* bytes of r and of s: DSA and ECDSA */
};

/* Begins a signature or its verification (op->kind): sets op->state and op->type for `hash`. `params` are OpenSSL's for this
 * `mechanism`, or NULL. size and order of *asym are then the caller's to set. CKR_KEY_SIZE_RANGE if `bits` is not in the
 * mechanism's range, CKR_MECHANISM_PARAM_INVALID if OpenSSL refuses `params`. */
CK_RV tok_asym_start(struct tok_op *op, CK_MECHANISM_PTR mechanism, const struct tok_asym_type *type,
                     enum tok_hash hash, CK_ULONG bits, const OSSL_PARAM *params, struct tok_asym **asym);

/* EVP_PKEY_sign, with *size bytes of room at `signature`, and EVP_PKEY_verify. */
CK_RV tok_asym_raw_sign(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, size_t *size);
CK_RV tok_asym_raw_verify(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                          CK_ULONG signature_len);

/* DSA and ECDSA: r and s, each of asym->order bytes, one after the other, where OpenSSL has them in DER. */
CK_RV tok_asym_rs_sign(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature);
CK_RV tok_asym_rs_verify(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                         CK_ULONG signature_len);

#endif
