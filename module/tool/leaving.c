/* Taking a private key off the token: wrapped under a key that lives for the moment. */
#include "tool/tool.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <string.h>

#include "core/module.h"
#include "object/attrs.h"
#include "tool/leaving.h"

enum { KEK = 32 };

/* A session object with this value, for wrapping only. */
static CK_RV make_kek(const struct tok_place *place, const unsigned char value[KEK], CK_OBJECT_HANDLE *kek)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  CK_RV rv = tok_attrs_set_ulong(&attrs, CKA_CLASS, CKO_SECRET_KEY);
  if (rv == CKR_OK) rv = tok_attrs_set_ulong(&attrs, CKA_KEY_TYPE, CKK_AES);
  if (rv == CKR_OK) rv = tok_attrs_set_bool(&attrs, CKA_TOKEN, false);
  if (rv == CKR_OK) rv = tok_attrs_set_bool(&attrs, CKA_WRAP, true);
  if (rv == CKR_OK) rv = tok_attrs_set(&attrs, CKA_VALUE, value, KEK);
  if (rv == CKR_OK) rv = tok_create(place, &attrs, kek);
  tok_attrs_clear(&attrs);
  return rv;
}

/* AES key wrap with padding (RFC 5649) undone. *out is the caller's, to be wiped with `len` of the wrapped key. */
static bool unwrap(const unsigned char kek[KEK], const unsigned char *wrapped, size_t len, unsigned char *out,
                   size_t *out_len)
{
  EVP_CIPHER *cipher = EVP_CIPHER_fetch(tok_module->crypto, "id-aes256-wrap-pad", NULL);
  EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
  int n = 0, rest = 0;
  bool good = false;
  if (cipher != NULL && ctx != NULL) {
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    good = EVP_DecryptInit_ex2(ctx, cipher, kek, NULL, NULL) == 1 &&
           EVP_DecryptUpdate(ctx, out, &n, wrapped, (int)len) == 1 && EVP_DecryptFinal_ex(ctx, out + n, &rest) == 1;
  }
  *out_len = (size_t)(n + rest);
  EVP_CIPHER_CTX_free(ctx);
  EVP_CIPHER_free(cipher);
  return good;
}

PKCS8_PRIV_KEY_INFO *tok_take_key(const struct tok_place *place, CK_OBJECT_HANDLE key, const char *name)
{
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_KWP, NULL, 0};
  CK_OBJECT_HANDLE kek = 0;
  CK_ULONG size = 0;
  unsigned char value[KEK], *wrapped = NULL, *plain = NULL;
  size_t len = 0;
  PKCS8_PRIV_KEY_INFO *p8 = NULL;
  CK_RV rv =
      RAND_priv_bytes_ex(tok_module->crypto, value, KEK, 0) == 1 ? make_kek(place, value, &kek) : CKR_GENERAL_ERROR;
  if (rv == CKR_OK) rv = C_WrapKey(place->session, &mechanism, kek, key, NULL, &size);
  if (rv == CKR_OK) {
    wrapped = tok_alloc(size);
    plain = tok_alloc(size + 16);
    rv = wrapped != NULL && plain != NULL ? C_WrapKey(place->session, &mechanism, kek, key, wrapped, &size)
                                          : CKR_HOST_MEMORY;
  }
  if (rv == CKR_OK && unwrap(value, wrapped, size, plain, &len)) {
    const unsigned char *der = plain;
    p8 = d2i_PKCS8_PRIV_KEY_INFO(NULL, &der, (long)len);
  }
  if (rv != CKR_OK) {
    tok_fail_rv("cannot export", name, rv);
  } else if (p8 == NULL) {
    tok_fail_rv("cannot export", name, CKR_FUNCTION_FAILED);
  }
  ERR_clear_error();
  if (kek != 0) C_DestroyObject(place->session, kek);
  if (plain != NULL) tok_wipe_free(plain, size + 16);
  if (wrapped != NULL) tok_wipe_free(wrapped, size);
  OPENSSL_cleanse(value, sizeof value);
  return p8;
}
