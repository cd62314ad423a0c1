/* Hash algorithms. */
#include "crypto/hash.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

/* What the standard calls an algorithm in its different roles; 0: it has no name there. */
static const struct {
  const char *name;
  CK_ULONG size;
  CK_MECHANISM_TYPE digest, hmac;
} hashes[] = {
#define X(id, name, size, digest, hmac) [TOK_##id] = {name, size, digest, hmac},
    TOK_HASHES(X)
#undef X
};

/* CK_RSA_PKCS_MGF_TYPE and CK_EC_KDF_TYPE; a KDF comes in the form of X9.63 and that of SP 800-56A, which for a hash
 * are the same computation in another order of its input, so the caller has to look again which one it is. */
/* clang-format off */
static const struct {
  enum tok_hash hash;
  CK_ULONG mgf, kdf, kdf_sp800;
} roles[] = {
  {TOK_SHA1,     CKG_MGF1_SHA1,     CKD_SHA1_KDF,     CKD_SHA1_KDF_SP800},
  {TOK_SHA224,   CKG_MGF1_SHA224,   CKD_SHA224_KDF,   CKD_SHA224_KDF_SP800},
  {TOK_SHA256,   CKG_MGF1_SHA256,   CKD_SHA256_KDF,   CKD_SHA256_KDF_SP800},
  {TOK_SHA384,   CKG_MGF1_SHA384,   CKD_SHA384_KDF,   CKD_SHA384_KDF_SP800},
  {TOK_SHA512,   CKG_MGF1_SHA512,   CKD_SHA512_KDF,   CKD_SHA512_KDF_SP800},
  {TOK_SHA3_224, CKG_MGF1_SHA3_224, CKD_SHA3_224_KDF, CKD_SHA3_224_KDF_SP800},
  {TOK_SHA3_256, CKG_MGF1_SHA3_256, CKD_SHA3_256_KDF, CKD_SHA3_256_KDF_SP800},
  {TOK_SHA3_384, CKG_MGF1_SHA3_384, CKD_SHA3_384_KDF, CKD_SHA3_384_KDF_SP800},
  {TOK_SHA3_512, CKG_MGF1_SHA3_512, CKD_SHA3_512_KDF, CKD_SHA3_512_KDF_SP800},
};
/* clang-format on */

static struct {
  EVP_MD *md[TOK_HASH_COUNT];
  EVP_MAC *hmac;
} loaded;

const EVP_MD *tok_hash_md(enum tok_hash hash)
{
  return hash > TOK_HASH_NONE && hash < TOK_HASH_COUNT ? loaded.md[hash] : NULL;
}

const char *tok_hash_name(enum tok_hash hash)
{
  return hash < TOK_HASH_COUNT ? hashes[hash].name : NULL;
}

CK_ULONG tok_hash_size(enum tok_hash hash)
{
  return hash < TOK_HASH_COUNT ? hashes[hash].size : 0;
}

enum tok_hash tok_hash_by_mechanism(CK_MECHANISM_TYPE mechanism)
{
  for (enum tok_hash h = TOK_HASH_NONE + 1; h < TOK_HASH_COUNT; h++)
    if (hashes[h].digest == mechanism || hashes[h].hmac == mechanism) return h;
  return TOK_HASH_NONE;
}

enum tok_hash tok_hash_by_mgf(CK_RSA_PKCS_MGF_TYPE mgf)
{
  for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
    if (roles[i].mgf == mgf) return roles[i].hash;
  return TOK_HASH_NONE;
}

enum tok_hash tok_hash_by_kdf(CK_EC_KDF_TYPE kdf)
{
  for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
    if (roles[i].kdf == kdf || roles[i].kdf_sp800 == kdf) return roles[i].hash;
  return TOK_HASH_NONE;
}

EVP_MAC *tok_hmac(void)
{
  return loaded.hmac;
}

CK_RV tok_hashes_load(OSSL_LIB_CTX *context)
{
  memset(&loaded, 0, sizeof loaded); /* in a forked child the parent's are still there, and stay */
  for (enum tok_hash h = TOK_HASH_NONE + 1; h < TOK_HASH_COUNT; h++) {
    loaded.md[h] = EVP_MD_fetch(context, hashes[h].name, NULL);
    if (loaded.md[h] == NULL) goto failed;
  }
  loaded.hmac = EVP_MAC_fetch(context, OSSL_MAC_NAME_HMAC, NULL);
  if (loaded.hmac != NULL) return CKR_OK;
failed:
  tok_hashes_unload();
  return CKR_GENERAL_ERROR;
}

void tok_hashes_unload(void)
{
  for (enum tok_hash h = TOK_HASH_NONE + 1; h < TOK_HASH_COUNT; h++) {
    EVP_MD_free(loaded.md[h]);
    loaded.md[h] = NULL;
  }
  EVP_MAC_free(loaded.hmac);
  loaded.hmac = NULL;
}

CK_RV tok_hash_once(enum tok_hash hash, const void *data, size_t len, CK_BYTE *out)
{
  const EVP_MD *md = tok_hash_md(hash);
  return md != NULL && EVP_Digest(data, len, out, NULL, md, NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_hmac_init(EVP_MAC_CTX *context, enum tok_hash hash, const void *key, size_t len)
{
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)hashes[hash].name, 0),
      OSSL_PARAM_construct_end(),
  };
  /* A NULL key would mean "as before" to OpenSSL, an empty one is none at all. */
  return EVP_MAC_init(context, len > 0 ? key : "", len, parameters) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_hmac_once(enum tok_hash hash, const void *key, size_t key_len, const void *data, size_t len, CK_BYTE *out)
{
  if (tok_hash_md(hash) == NULL) return CKR_FUNCTION_FAILED;
  size_t size = hashes[hash].size;
  EVP_MAC_CTX *context = EVP_MAC_CTX_new(loaded.hmac);
  if (context == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = tok_hmac_init(context, hash, key, key_len);
  if (rv == CKR_OK &&
      (EVP_MAC_update(context, data, len) != 1 || EVP_MAC_final(context, out, &size, hashes[hash].size) != 1))
    rv = CKR_FUNCTION_FAILED;
  EVP_MAC_CTX_free(context);
  return rv;
}
