/* Hash algorithms, fetched once from our library context. */
#ifndef TOK_HASH_H
#define TOK_HASH_H

#include <openssl/types.h>

#include "pkcs11.h"

/* id, OpenSSL's name, bytes, digest mechanism, HMAC mechanism */
#define TOK_HASHES(X)                                                    \
  X(MD5, "MD5", 16, CKM_MD5, CKM_MD5_HMAC)                               \
  X(SHA1, "SHA1", 20, CKM_SHA_1, CKM_SHA_1_HMAC)                         \
  X(SHA224, "SHA2-224", 28, CKM_SHA224, CKM_SHA224_HMAC)                 \
  X(SHA256, "SHA2-256", 32, CKM_SHA256, CKM_SHA256_HMAC)                 \
  X(SHA384, "SHA2-384", 48, CKM_SHA384, CKM_SHA384_HMAC)                 \
  X(SHA512, "SHA2-512", 64, CKM_SHA512, CKM_SHA512_HMAC)                 \
  X(SHA512_224, "SHA2-512/224", 28, CKM_SHA512_224, CKM_SHA512_224_HMAC) \
  X(SHA512_256, "SHA2-512/256", 32, CKM_SHA512_256, CKM_SHA512_256_HMAC) \
  X(SHA3_224, "SHA3-224", 28, CKM_SHA3_224, CKM_SHA3_224_HMAC)           \
  X(SHA3_256, "SHA3-256", 32, CKM_SHA3_256, CKM_SHA3_256_HMAC)           \
  X(SHA3_384, "SHA3-384", 48, CKM_SHA3_384, CKM_SHA3_384_HMAC)           \
  X(SHA3_512, "SHA3-512", 64, CKM_SHA3_512, CKM_SHA3_512_HMAC)
/* clang-format on */

enum tok_hash {
  TOK_HASH_NONE,
#define X(id, name, size, digest, hmac) TOK_##id,
  TOK_HASHES(X)
#undef X
      TOK_HASH_COUNT
};
/* Added to a hash in tok_mech.arg: the _GENERAL form, whose parameter is the length of the MAC. */
#define TOK_GENERAL 0x100u
/* The hash in tok_mech.arg. */
#define TOK_HASH_OF(arg) ((enum tok_hash)((arg)&0xff))

/* OpenSSL's digest, NULL for TOK_HASH_NONE. Fetched at C_Initialize, valid until C_Finalize. */
const EVP_MD *tok_hash_md(enum tok_hash hash);
const char *tok_hash_name(enum tok_hash hash); /* as OpenSSL's parameters take it */
CK_ULONG tok_hash_size(enum tok_hash hash);    /* bytes */
/* From a digest mechanism (CKM_SHA256), its HMAC, an MGF (CKG_MGF1_SHA256) or a KDF (CKD_SHA256_KDF, _SP800);
 * TOK_HASH_NONE if it is none that we know. */
enum tok_hash tok_hash_by_mechanism(CK_MECHANISM_TYPE mechanism);
enum tok_hash tok_hash_by_mgf(CK_RSA_PKCS_MGF_TYPE mgf);
enum tok_hash tok_hash_by_kdf(CK_EC_KDF_TYPE kdf);

/* OpenSSL's HMAC, fetched with the hashes, and a context of it made ready: a key of `len` bytes, 0 allowed. The host's
 * error queue may get entries if it fails (CKR_FUNCTION_FAILED). */
EVP_MAC *tok_hmac(void);
CK_RV tok_hmac_init(EVP_MAC_CTX *context, enum tok_hash hash, const void *key, size_t len);

CK_RV tok_hashes_load(OSSL_LIB_CTX *context); /* CKR_GENERAL_ERROR if one is missing */
void tok_hashes_unload(void);

/* Digest of one buffer, and HMAC of one; `out` has tok_hash_size bytes. CKR_OK or CKR_FUNCTION_FAILED. */
CK_RV tok_hash_once(enum tok_hash hash, const void *data, size_t len, CK_BYTE *out);
CK_RV tok_hmac_once(enum tok_hash hash, const void *key, size_t key_len, const void *data, size_t len, CK_BYTE *out);

#endif
