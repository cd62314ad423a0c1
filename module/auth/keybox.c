/* Keys from PINs, keys from keys, sealed boxes. */
#include "auth/keybox.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

#include "core/module.h"

#define NONCE 12
#define TAG 16

CK_RV tok_key_random(void *to, size_t size)
{
  ERR_set_mark();
  int good = RAND_priv_bytes_ex(tok_module->crypto, to, size, 0);
  ERR_pop_to_mark();
  return good == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* A context for the box's cipher, ready for the text; `bound` has been taken in. NULL if OpenSSL fails. */
static EVP_CIPHER_CTX *begin(int encrypt, const uint8_t *key, const uint8_t *nonce, const void *bound, size_t bound_len)
{
  int ignored;
  EVP_CIPHER *gcm = EVP_CIPHER_fetch(tok_module->crypto, "AES-256-GCM", NULL);
  EVP_CIPHER_CTX *ctx = gcm != NULL ? EVP_CIPHER_CTX_new() : NULL;
  int good = ctx != NULL && EVP_CipherInit_ex2(ctx, gcm, key, nonce, encrypt, NULL) == 1;
  if (good && bound_len > 0) good = EVP_CipherUpdate(ctx, NULL, &ignored, bound, (int)bound_len) == 1;
  EVP_CIPHER_free(gcm); /* the context has its own reference */
  if (good) return ctx;
  EVP_CIPHER_CTX_free(ctx);
  return NULL;
}

static int text(EVP_CIPHER_CTX *ctx, const uint8_t *in, size_t len, uint8_t *out)
{
  int written;
  return len == 0 || EVP_CipherUpdate(ctx, out, &written, in, (int)len) == 1;
}

CK_RV tok_box_seal(const uint8_t key[TOK_KEY], const void *bound, size_t bound_len, const uint8_t *in, size_t len,
                   uint8_t *box)
{
  if (len > INT_MAX - TOK_BOX_MORE || bound_len > INT_MAX) return CKR_FUNCTION_FAILED;
  if (tok_key_random(box, NONCE) != CKR_OK) return CKR_FUNCTION_FAILED;
  int none;
  ERR_set_mark();
  EVP_CIPHER_CTX *ctx = begin(1, key, box, bound, bound_len);
  int good = ctx != NULL && text(ctx, in, len, box + NONCE) && EVP_CipherFinal_ex(ctx, box + NONCE + len, &none) == 1 &&
             EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, box + NONCE + len) == 1;
  EVP_CIPHER_CTX_free(ctx);
  ERR_pop_to_mark();
  return good ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_box_open(const uint8_t key[TOK_KEY], const void *bound, size_t bound_len, const uint8_t *box, size_t len,
                   uint8_t *out)
{
  if (len < TOK_BOX_MORE) return CKR_PIN_INCORRECT;
  if (len > INT_MAX || bound_len > INT_MAX) return CKR_FUNCTION_FAILED;
  uint8_t tag[TAG], none_at[1];
  int none;
  size_t inside = len - TOK_BOX_MORE;
  memcpy(tag, box + NONCE + inside, TAG);
  ERR_set_mark();
  EVP_CIPHER_CTX *ctx = begin(0, key, box, bound, bound_len);
  int good = ctx != NULL && text(ctx, box + NONCE, inside, out) &&
             EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1;
  int right = good && EVP_CipherFinal_ex(ctx, none_at, &none) == 1;
  EVP_CIPHER_CTX_free(ctx);
  ERR_pop_to_mark();
  if (!right) OPENSSL_cleanse(out, inside);
  return !good ? CKR_FUNCTION_FAILED : right ? CKR_OK : CKR_PIN_INCORRECT;
}

static CK_RV derive(const char *kdf_name, const OSSL_PARAM *params, uint8_t key[TOK_KEY])
{
  ERR_set_mark();
  EVP_KDF *kdf = EVP_KDF_fetch(tok_module->crypto, kdf_name, NULL);
  EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
  int good = ctx != NULL && EVP_KDF_derive(ctx, key, TOK_KEY, params) == 1;
  bool room = good || ERR_GET_REASON(ERR_peek_last_error()) != ERR_R_MALLOC_FAILURE;
  EVP_KDF_CTX_free(ctx);
  EVP_KDF_free(kdf);
  ERR_pop_to_mark();
  return good ? CKR_OK : room ? CKR_FUNCTION_FAILED : CKR_HOST_MEMORY;
}

CK_RV tok_key_from_pin(const uint8_t *pin, size_t pin_len, const uint8_t salt[TOK_PIN_SALT], unsigned cost,
                       uint8_t key[TOK_KEY])
{
  if (cost < 1 || cost > TOK_MAX_COST || pin_len > UINT8_MAX) return CKR_DEVICE_ERROR;
  uint8_t salted[TOK_PIN_SALT + 1];
  memcpy(salted, salt, TOK_PIN_SALT);
  salted[TOK_PIN_SALT] = (uint8_t)pin_len;
  uint8_t nothing = 0; /* OpenSSL takes a password of length 0, but not at NULL */
  uint64_t n = UINT64_C(1) << cost, most = 1024 * (n + 64);
  uint32_t r = 8, p = 1;
  OSSL_PARAM params[] = {
      OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PASSWORD, pin_len > 0 ? (void *)(uintptr_t)pin : &nothing, pin_len),
      OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, salted, sizeof salted),
      OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
      OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
      OSSL_PARAM_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
      OSSL_PARAM_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &most),
      OSSL_PARAM_END,
  };
  return derive("SCRYPT", params, key);
}

CK_RV tok_key_from_key(const uint8_t from[TOK_KEY], const char *purpose, uint8_t key[TOK_KEY])
{
  OSSL_PARAM params[] = {
      OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA2-256", 8),
      OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)from, TOK_KEY),
      OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)purpose, strlen(purpose)),
      OSSL_PARAM_END,
  };
  return derive("HKDF", params, key);
}
