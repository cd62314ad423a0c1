/* Keys from passwords: PBKDF2 of PKCS #5 and the key derivation of PKCS #12 (RFC 7292, appendix B).
 *
 * The password is taken as the bytes it is: for PKCS #12 the caller makes a BMPString with its final zeros of it, as NSS
 * does (p12local.c, sec_pkcs12_convert_item_to_unicode). */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "core/module.h"
#include "crypto/hash.h"
#include "crypto/mech.h"
#include "crypto/secret.h"

/* NSS's limit (lowpbe.c, MAX_ITERATION_COUNT): the session is locked meanwhile. */
#define MAX_ITERATIONS 100000000
/* softoken tells the two forms of the parameters by it (pkcs11c.c, CK_PKCS5_PBKD2_PARAMS_PTR_BOUNDARY): both have 72 bytes. */
#define MAX_PASSWORD 8192

/* No salt or password is longer; a length beyond is a mistake that would be read as memory. */
#define LONGEST 65536

struct input {
  const void *password, *salt;
  size_t password_len, salt_len;
  uint64_t iterations;
  enum tok_hash hash;
};

/* What the mechanisms of PKCS #12 make: hash, bytes of the key, purpose of the bits (RFC 7292, B.3: 1 key, 2 IV, 3 key of a
 * MAC) and bytes of the IV. */
/* clang-format off */
static const struct kind {
  CK_MECHANISM_TYPE mechanism;
  enum tok_hash hash;
  CK_ULONG len;
  int id;
  CK_ULONG iv;
} kinds[] = {
  {CKM_PBE_SHA1_DES3_EDE_CBC,              TOK_SHA1,   24, 1, 8},
  {CKM_PBE_SHA1_DES2_EDE_CBC,              TOK_SHA1,   16, 1, 8},
  {CKM_PBE_SHA1_RC2_128_CBC,               TOK_SHA1,   16, 1, 8},
  {CKM_PBE_SHA1_RC2_40_CBC,                TOK_SHA1,    5, 1, 8},
  {CKM_PBE_SHA1_RC4_128,                   TOK_SHA1,   16, 1, 0},
  {CKM_PBE_SHA1_RC4_40,                    TOK_SHA1,    5, 1, 0},
  {CKM_PBA_SHA1_WITH_SHA1_HMAC,            TOK_SHA1,   20, 3, 0},
  {CKM_NSS_PKCS12_PBE_SHA224_HMAC_KEY_GEN, TOK_SHA224, 28, 3, 0},
  {CKM_NSS_PKCS12_PBE_SHA256_HMAC_KEY_GEN, TOK_SHA256, 32, 3, 0},
  {CKM_NSS_PKCS12_PBE_SHA384_HMAC_KEY_GEN, TOK_SHA384, 48, 3, 0},
  {CKM_NSS_PKCS12_PBE_SHA512_HMAC_KEY_GEN, TOK_SHA512, 64, 3, 0},
};

static const struct {
  CK_PKCS5_PBKD2_PSEUDO_RANDOM_FUNCTION_TYPE prf;
  enum tok_hash hash;
} prfs[] = {
  {CKP_PKCS5_PBKD2_HMAC_SHA1,       TOK_SHA1},
  {CKP_PKCS5_PBKD2_HMAC_SHA224,     TOK_SHA224},
  {CKP_PKCS5_PBKD2_HMAC_SHA256,     TOK_SHA256},
  {CKP_PKCS5_PBKD2_HMAC_SHA384,     TOK_SHA384},
  {CKP_PKCS5_PBKD2_HMAC_SHA512,     TOK_SHA512},
  {CKP_PKCS5_PBKD2_HMAC_SHA512_224, TOK_SHA512_224},
  {CKP_PKCS5_PBKD2_HMAC_SHA512_256, TOK_SHA512_256},
};
/* clang-format on */

/* OpenSSL takes an address with no bytes for a missing password, so there is always one. */
static const char nothing[1];

static bool put(const void **to, size_t *to_len, const void *from, CK_ULONG len)
{
  if ((from == NULL && len != 0) || len > LONGEST) return false;
  *to = len != 0 ? from : nothing;
  *to_len = len;
  return true;
}

/* Fills `out`. id 0: PBKDF2. */
static CK_RV derive(const char *name, const struct input *in, int id, CK_BYTE *out, CK_ULONG len)
{
  int pkcs5 = 1; /* no lower bounds of SP 800-132 for salt, iterations and key */
  uint64_t iterations = in->iterations;
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)in->password, in->password_len),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)in->salt, in->salt_len),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_ITER, &iterations),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)tok_hash_name(in->hash), 0),
      id != 0 ? OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS12_ID, &id)
              : OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &pkcs5),
      OSSL_PARAM_construct_end(),
  };
  EVP_KDF_CTX *context = NULL;
  CK_RV rv = CKR_FUNCTION_FAILED;
  ERR_set_mark();
  EVP_KDF *kdf = EVP_KDF_fetch(tok_module->crypto, name, NULL);
  if (kdf == NULL) goto out;
  context = EVP_KDF_CTX_new(kdf);
  if (context != NULL && EVP_KDF_derive(context, out, len, params) == 1) rv = CKR_OK;
out:
  ERR_pop_to_mark();
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(kdf);
  return rv;
}

/* CK_PKCS5_PBKD2_PARAMS2, or the form before 2.40 with the length of the password behind a pointer. */
static bool read_pbkdf2(CK_MECHANISM_PTR mechanism, struct input *in)
{
  const CK_PKCS5_PBKD2_PARAMS2 *p = tok_mech_param(mechanism, sizeof *p);
  if (p == NULL || p->saltSource != CKZ_SALT_SPECIFIED || p->ulPrfDataLen != 0) return false;
  CK_ULONG password_len = p->ulPasswordLen;
  if (password_len > MAX_PASSWORD)
    password_len = *((const CK_PKCS5_PBKD2_PARAMS *)mechanism->pParameter)->ulPasswordLen;
  if (password_len > MAX_PASSWORD || p->iterations == 0 || p->iterations > MAX_ITERATIONS) return false;
  in->iterations = p->iterations;
  for (size_t i = 0; i < sizeof prfs / sizeof prfs[0]; i++)
    if (prfs[i].prf == p->prf) in->hash = prfs[i].hash;
  return in->hash != TOK_HASH_NONE && put(&in->password, &in->password_len, p->pPassword, password_len) &&
         put(&in->salt, &in->salt_len, p->pSaltSourceData, p->ulSaltSourceDataLen);
}

static bool read_pkcs12(const CK_PBE_PARAMS *p, struct input *in)
{
  if (p == NULL || p->ulIteration == 0 || p->ulIteration > MAX_ITERATIONS) return false;
  /* Of nothing at all OpenSSL derives nothing. */
  if (p->ulPasswordLen == 0 && p->ulSaltLen == 0) return false;
  in->iterations = p->ulIteration;
  return put(&in->password, &in->password_len, p->pPassword, p->ulPasswordLen) &&
         put(&in->salt, &in->salt_len, p->pSalt, p->ulSaltLen);
}

/* RC2 and RC4 keys and those of MACs have the mechanism's length, so the template need not tell; if it does, it must agree. */
static CK_RV length_of(const struct kind *kind, const struct tok_attrs *key, CK_ULONG *len)
{
  *len = kind->len;
  return tok_attrs_ulong(key, CKA_VALUE_LEN, kind->len) == kind->len ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
}

static CK_RV generate(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                      struct tok_attrs *key)
{
  (void)session;
  struct input in = {.hash = TOK_HASH_NONE};
  const struct kind *kind = NULL;
  const CK_PBE_PARAMS *p12 = NULL;
  CK_ULONG len;
  CK_RV rv;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (kinds[i].mechanism == mech->type) kind = &kinds[i];
  if (kind != NULL) {
    p12 = tok_mech_param(mechanism, sizeof *p12);
    if (!read_pkcs12(p12, &in)) return CKR_MECHANISM_PARAM_INVALID;
    in.hash = kind->hash;
    rv = length_of(kind, key, &len);
  } else {
    if (!read_pbkdf2(mechanism, &in)) return CKR_MECHANISM_PARAM_INVALID;
    rv = tok_secret_length(key, &len);
  }
  if (rv != CKR_OK) return rv;
  CK_BYTE *value = tok_alloc(len);
  if (value == NULL) return CKR_HOST_MEMORY;
  rv = kind != NULL ? derive("PKCS12KDF", &in, kind->id, value, len) : derive("PBKDF2", &in, 0, value, len);
  /* The IV goes to the caller (CK_PBE_PARAMS: "the location that receives the 8-byte initialization vector"). */
  if (rv == CKR_OK && kind != NULL && kind->iv != 0 && p12->pInitVector != NULL)
    rv = derive("PKCS12KDF", &in, 2, p12->pInitVector, kind->iv);
  if (rv == CKR_OK) rv = tok_secret_put(key, value, len);
  tok_wipe_free(value, len);
  return rv;
}

const struct tok_family tok_family_pbe = {.generate = generate};
