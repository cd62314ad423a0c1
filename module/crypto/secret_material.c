/* Completing secret keys. */
#include "crypto/secret_material.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "core/module.h"
#include "crypto/hash.h"
#include "object/kinds.h"

/* clang-format off */
static const struct secret_type {
  CK_KEY_TYPE type;
  CK_ULONG min, max, step; /* bytes; 0: any */
  bool has_len;            /* CKA_VALUE_LEN */
  bool parity;
  enum { NO_CHECK, BLOCK, HASH } check; /* what CKA_CHECK_VALUE is made with */
} secrets[] = {
  {CKK_AES,            16,  32,    8, true,  false, BLOCK},
  {CKK_DES,             8,   8,    8, false, true,  BLOCK},
  {CKK_DES2,           16,  16,    8, false, true,  BLOCK},
  {CKK_DES3,           24,  24,    8, false, true,  BLOCK},
  {CKK_RC2,             1, 128,    1, true,  false, NO_CHECK},
  {CKK_RC4,             1, 256,    1, true,  false, NO_CHECK},
  {CKK_CHACHA20,       32,  32,    1, true,  false, NO_CHECK},
  {CKK_NSS_CHACHA20,   32,  32,    1, true,  false, NO_CHECK},
  {CKK_GENERIC_SECRET,  0,   0,    0, true,  false, HASH},
};
/* clang-format on */

static const struct secret_type *find(CK_KEY_TYPE type)
{
  for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
    if (secrets[i].type == type) return &secrets[i];
  return NULL;
}

/* Types that the table does not have are those for HMACs and HKDF: of any length, like generic secrets. */
bool tok_secret_range(CK_KEY_TYPE type, struct tok_secret_range *range)
{
  if (type == CK_UNAVAILABLE_INFORMATION || tok_kind_find(CKO_SECRET_KEY, type) == NULL) return false;
  const struct secret_type *secret = find(type);
  *range = secret != NULL && secret->step != 0 ? (struct tok_secret_range){secret->min, secret->max, secret->step}
                                               : (struct tok_secret_range){1, 65536, 1};
  return true;
}

/* DES keys have odd parity in every byte (FIPS 46-3); NSS derives some that have not and expects the token to see to it. */
static CK_RV fix_parity(struct tok_attrs *attrs, const CK_BYTE *value, CK_ULONG len)
{
  CK_BYTE fixed[24];
  for (CK_ULONG i = 0; i < len; i++) fixed[i] = (CK_BYTE)(value[i] ^ !__builtin_parity(value[i]));
  CK_RV rv = memcmp(fixed, value, len) != 0 ? tok_attrs_set(attrs, CKA_VALUE, fixed, len) : CKR_OK;
  OPENSSL_cleanse(fixed, sizeof fixed);
  return rv;
}

/* A block of zeros under the key (PKCS #11 3.2, 4.10). Single and double DES are triple DES with repeated keys. */
static CK_RV encrypt_zeros(const struct secret_type *secret, const CK_BYTE *value, CK_ULONG len, CK_BYTE out[16])
{
  static const CK_BYTE zeros[16];
  CK_BYTE key[32];
  int written = 0;
  char name[16] = "";
  EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
  bool aes = secret->type == CKK_AES;
  snprintf(name, sizeof name, aes ? "AES-%u-ECB" : "DES-EDE3-ECB", (unsigned)len * 8);
  EVP_CIPHER *cipher = EVP_CIPHER_fetch(tok_module->crypto, name, NULL);
  for (CK_ULONG i = 0; i < sizeof key; i++) key[i] = value[i % len];
  bool done = ctx != NULL && cipher != NULL && EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL) == 1 &&
              EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
              EVP_EncryptUpdate(ctx, out, &written, zeros, aes ? 16 : 8) == 1;
  OPENSSL_cleanse(key, sizeof key);
  EVP_CIPHER_free(cipher);
  EVP_CIPHER_CTX_free(ctx);
  return done ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* CKA_CHECK_VALUE: a caller who gives an empty one wants none, another must be right. */
static CK_RV check_value(struct tok_attrs *attrs, const struct secret_type *secret, const CK_BYTE *value, CK_ULONG len)
{
  CK_BYTE computed[20];
  CK_ULONG given_len = 0;
  CK_RV rv;
  if (secret->check == BLOCK)
    rv = encrypt_zeros(secret, value, len, computed);
  else if (secret->check == HASH)
    rv = tok_hash_once(TOK_SHA1, value, len, computed);
  else
    return CKR_OK;
  if (rv != CKR_OK) return rv;
  const CK_BYTE *given = tok_attrs_get(attrs, CKA_CHECK_VALUE, &given_len);
  if (given == NULL) return tok_attrs_set(attrs, CKA_CHECK_VALUE, computed, 3);
  if (given_len == 0) return CKR_OK;
  return given_len == 3 && memcmp(given, computed, 3) == 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

CK_RV tok_secret_complete(struct tok_attrs *attrs)
{
  CK_ULONG len = 0;
  const struct secret_type *secret = find(tok_attrs_ulong(attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION));
  const CK_BYTE *value = tok_attrs_get(attrs, CKA_VALUE, &len);
  if (value == NULL) return CKR_TEMPLATE_INCOMPLETE;
  if (secret != NULL && secret->step != 0 && (len < secret->min || len > secret->max || len % secret->step != 0))
    return CKR_ATTRIBUTE_VALUE_INVALID;
  CK_RV rv = CKR_OK;
  if (secret == NULL || secret->has_len) {
    if (tok_attrs_ulong(attrs, CKA_VALUE_LEN, len) != len) return CKR_TEMPLATE_INCONSISTENT;
    rv = tok_attrs_set_ulong(attrs, CKA_VALUE_LEN, len);
  } else {
    tok_attrs_remove(attrs, CKA_VALUE_LEN);
  }
  if (rv == CKR_OK && secret != NULL && secret->parity)
    rv = fix_parity(attrs, tok_attrs_get(attrs, CKA_VALUE, NULL), len);
  if (rv == CKR_OK && secret != NULL) rv = check_value(attrs, secret, tok_attrs_get(attrs, CKA_VALUE, NULL), len);
  return rv;
}
