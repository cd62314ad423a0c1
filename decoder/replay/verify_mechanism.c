/* Signatures by mechanism, checked by OpenSSL. */
#include <openssl/core_names.h>
#include <openssl/dsa.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/verify_part.h"

/* clang-format off */
static const struct {
  uint64_t mechanism;
  uint8_t how;
  const char *hash;
} mechanisms[] = {
    {CKM_RSA_PKCS, VERIFY_PKCS1, NULL},
    {CKM_RSA_X_509, VERIFY_X509, NULL},
    {CKM_MD5_RSA_PKCS, VERIFY_PKCS1_HASHED, "MD5"},
    {CKM_SHA1_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA1"},
    {CKM_SHA224_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA224"},
    {CKM_SHA256_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA256"},
    {CKM_SHA384_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA384"},
    {CKM_SHA512_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA512"},
    {CKM_SHA3_224_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA3-224"},
    {CKM_SHA3_256_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA3-256"},
    {CKM_SHA3_384_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA3-384"},
    {CKM_SHA3_512_RSA_PKCS, VERIFY_PKCS1_HASHED, "SHA3-512"},
    {CKM_RSA_PKCS_PSS, VERIFY_PSS, NULL},
    {CKM_SHA1_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA1"},
    {CKM_SHA224_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA224"},
    {CKM_SHA256_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA256"},
    {CKM_SHA384_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA384"},
    {CKM_SHA512_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA512"},
    {CKM_SHA3_224_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA3-224"},
    {CKM_SHA3_256_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA3-256"},
    {CKM_SHA3_384_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA3-384"},
    {CKM_SHA3_512_RSA_PKCS_PSS, VERIFY_PSS_HASHED, "SHA3-512"},
    {CKM_ECDSA, VERIFY_ECDSA, NULL},
    {CKM_ECDSA_SHA1, VERIFY_ECDSA_HASHED, "SHA1"},
    {CKM_ECDSA_SHA224, VERIFY_ECDSA_HASHED, "SHA224"},
    {CKM_ECDSA_SHA256, VERIFY_ECDSA_HASHED, "SHA256"},
    {CKM_ECDSA_SHA384, VERIFY_ECDSA_HASHED, "SHA384"},
    {CKM_ECDSA_SHA512, VERIFY_ECDSA_HASHED, "SHA512"},
    {CKM_ECDSA_SHA3_224, VERIFY_ECDSA_HASHED, "SHA3-224"},
    {CKM_ECDSA_SHA3_256, VERIFY_ECDSA_HASHED, "SHA3-256"},
    {CKM_ECDSA_SHA3_384, VERIFY_ECDSA_HASHED, "SHA3-384"},
    {CKM_ECDSA_SHA3_512, VERIFY_ECDSA_HASHED, "SHA3-512"},
    {CKM_DSA, VERIFY_DSA, NULL},
    {CKM_DSA_SHA1, VERIFY_DSA_HASHED, "SHA1"},
    {CKM_DSA_SHA224, VERIFY_DSA_HASHED, "SHA224"},
    {CKM_DSA_SHA256, VERIFY_DSA_HASHED, "SHA256"},
    {CKM_DSA_SHA384, VERIFY_DSA_HASHED, "SHA384"},
    {CKM_DSA_SHA512, VERIFY_DSA_HASHED, "SHA512"},
    {CKM_EDDSA, VERIFY_EDDSA, NULL},
    {CKM_MD5_HMAC, VERIFY_HMAC, "MD5"},
    {CKM_SHA_1_HMAC, VERIFY_HMAC, "SHA1"},
    {CKM_SHA224_HMAC, VERIFY_HMAC, "SHA224"},
    {CKM_SHA256_HMAC, VERIFY_HMAC, "SHA256"},
    {CKM_SHA384_HMAC, VERIFY_HMAC, "SHA384"},
    {CKM_SHA512_HMAC, VERIFY_HMAC, "SHA512"},
    {CKM_SHA_1_HMAC_GENERAL, VERIFY_HMAC, "SHA1"},
    {CKM_SHA224_HMAC_GENERAL, VERIFY_HMAC, "SHA224"},
    {CKM_SHA256_HMAC_GENERAL, VERIFY_HMAC, "SHA256"},
    {CKM_SHA384_HMAC_GENERAL, VERIFY_HMAC, "SHA384"},
    {CKM_SHA512_HMAC_GENERAL, VERIFY_HMAC, "SHA512"},
};

static const struct {
  uint64_t hash, mask;
  const char *name;
} hashes[] = {
    {CKM_SHA_1, CKG_MGF1_SHA1, "SHA1"},
    {CKM_SHA224, CKG_MGF1_SHA224, "SHA224"},
    {CKM_SHA256, CKG_MGF1_SHA256, "SHA256"},
    {CKM_SHA384, CKG_MGF1_SHA384, "SHA384"},
    {CKM_SHA512, CKG_MGF1_SHA512, "SHA512"},
    {CKM_SHA3_224, CKG_MGF1_SHA3_224, "SHA3-224"},
    {CKM_SHA3_256, CKG_MGF1_SHA3_256, "SHA3-256"},
    {CKM_SHA3_384, CKG_MGF1_SHA3_384, "SHA3-384"},
    {CKM_SHA3_512, CKG_MGF1_SHA3_512, "SHA3-512"},
};
/* clang-format on */

/* CK_RSA_PKCS_PSS_PARAMS, whose hash must be the mechanism's, where that has one. */
static void take_pss(struct verify_mechanism *m, const CK_MECHANISM *mechanism)
{
  CK_RSA_PKCS_PSS_PARAMS pss;
  const char *hash = m->hash, *given = NULL;
  if (!mechanism->pParameter || mechanism->ulParameterLen != sizeof pss) {
    m->how = VERIFY_NO;
    return;
  }
  memcpy(&pss, mechanism->pParameter, sizeof pss);
  for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
    if (hashes[i].hash == pss.hashAlg) given = hashes[i].name;
    if (hashes[i].mask == pss.mgf) m->mask = hashes[i].name;
  }
  m->hash = given;
  m->salt = pss.sLen;
  if (!given || !m->mask || pss.sLen > 1024 || (hash && strcmp(hash, given))) m->how = VERIFY_NO;
}

/* CK_EDDSA_PARAMS: OpenSSL 3.0 knows neither pre-hashing nor contexts. */
static void take_eddsa(struct verify_mechanism *m, const CK_MECHANISM *mechanism)
{
  CK_EDDSA_PARAMS eddsa;
  if (!mechanism->pParameter || mechanism->ulParameterLen == 0) return;
  if (mechanism->ulParameterLen != sizeof eddsa) {
    m->how = VERIFY_NO;
    return;
  }
  memcpy(&eddsa, mechanism->pParameter, sizeof eddsa);
  if (eddsa.phFlag || eddsa.ulContextDataLen) m->how = VERIFY_NO;
}

struct verify_mechanism verify_mechanism_of(const CK_MECHANISM *mechanism)
{
  struct verify_mechanism m = {0};
  for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
    if (mechanisms[i].mechanism != mechanism->mechanism) continue;
    m.how = mechanisms[i].how;
    m.hash = mechanisms[i].hash;
  }
  if (m.how == VERIFY_PSS || m.how == VERIFY_PSS_HASHED) take_pss(&m, mechanism);
  if (m.how == VERIFY_EDDSA) take_eddsa(&m, mechanism);
  return m;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const struct verify_mechanism *m)
{
  if (m->how == VERIFY_PKCS1 || m->how == VERIFY_PKCS1_HASHED) {
    if (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) <= 0) return false;
    return !m->hash || EVP_PKEY_CTX_set_signature_md(ctx, EVP_get_digestbyname(m->hash)) > 0;
  }
  if (m->how == VERIFY_X509) return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) > 0;
  return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
         EVP_PKEY_CTX_set_signature_md(ctx, EVP_get_digestbyname(m->hash)) > 0 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_get_digestbyname(m->mask)) > 0 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)m->salt) > 0;
}

/* What the signature holds must be the data, zeros in front of it where there is no padding. */
static enum verified recover(EVP_PKEY_CTX *ctx, const struct verify_mechanism *m, const uint8_t *data, size_t length,
                             const uint8_t *signature, size_t signature_length)
{
  uint8_t recovered[2048];
  size_t size = sizeof recovered;
  if (signature_length > sizeof recovered || EVP_PKEY_verify_recover_init(ctx) <= 0 || !set_padding(ctx, m))
    return VERIFIED_NOT;
  if (EVP_PKEY_verify_recover(ctx, recovered, &size, signature, signature_length) <= 0) return VERIFIED_WRONG;
  if (m->how == VERIFY_PKCS1) return size == length && !memcmp(recovered, data, length) ? VERIFIED : VERIFIED_WRONG;
  while (length && data[0] == 0) data++, length--;
  const uint8_t *got = recovered;
  while (size && got[0] == 0) got++, size--;
  return size == length && !memcmp(got, data, length) ? VERIFIED : VERIFIED_WRONG;
}

static enum verified plain(EVP_PKEY_CTX *ctx, const struct verify_mechanism *m, bool rsa, const uint8_t *data,
                           size_t length, const uint8_t *signature, size_t signature_length)
{
  if (EVP_PKEY_verify_init(ctx) <= 0 || (rsa && !set_padding(ctx, m))) return VERIFIED_NOT;
  return EVP_PKEY_verify(ctx, signature, signature_length, data, length) == 1 ? VERIFIED : VERIFIED_WRONG;
}

/* The standard's r and s, one after the other, as OpenSSL wants them: in DER. Both structures are alike. */
static enum verified two_numbers(EVP_PKEY_CTX *ctx, const struct verify_mechanism *m, const uint8_t *data,
                                 size_t length, const uint8_t *signature, size_t signature_length)
{
  if (signature_length == 0 || signature_length % 2 || signature_length > 1024) return VERIFIED_WRONG;
  const int half = (int)(signature_length / 2);
  ECDSA_SIG *pair = ECDSA_SIG_new();
  BIGNUM *r = BN_bin2bn(signature, half, NULL), *s = BN_bin2bn(signature + half, half, NULL);
  uint8_t *der = NULL;
  enum verified verdict = VERIFIED_NOT;
  if (pair && r && s && ECDSA_SIG_set0(pair, r, s)) {
    r = s = NULL;
    const int size = i2d_ECDSA_SIG(pair, &der);
    if (size > 0) verdict = plain(ctx, m, false, data, length, der, (size_t)size);
  }
  BN_free(r);
  BN_free(s);
  ECDSA_SIG_free(pair);
  OPENSSL_free(der);
  return verdict;
}

static enum verified eddsa(EVP_PKEY *key, const uint8_t *data, size_t length, const uint8_t *signature,
                           size_t signature_length)
{
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  enum verified verdict = VERIFIED_NOT;
  if (ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) > 0)
    verdict = EVP_DigestVerify(ctx, signature, signature_length, data, length) == 1 ? VERIFIED : VERIFIED_WRONG;
  EVP_MD_CTX_free(ctx);
  return verdict;
}

/* Is it a key for the mechanism? Else the module should have said so, and nothing can be checked. */
static bool suits(const struct verify_mechanism *m, const EVP_PKEY *key)
{
  const int type = EVP_PKEY_get_base_id(key);
  switch (m->how) {
    case VERIFY_ECDSA:
    case VERIFY_ECDSA_HASHED: return type == EVP_PKEY_EC;
    case VERIFY_DSA:
    case VERIFY_DSA_HASHED: return type == EVP_PKEY_DSA;
    case VERIFY_EDDSA: return type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448;
    case VERIFY_NO:
    case VERIFY_HMAC: return false;
    default: return type == EVP_PKEY_RSA;
  }
}

enum verified verify_check(const struct verify_mechanism *m, EVP_PKEY *key, const uint8_t *data, size_t length,
                           const uint8_t *signature, size_t signature_length)
{
  if (!suits(m, key)) return VERIFIED_NOT;
  if (m->how == VERIFY_EDDSA) return eddsa(key, data, length, signature, signature_length);
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
  if (!ctx) return VERIFIED_NOT;
  enum verified verdict;
  switch (m->how) {
    case VERIFY_PKCS1:
    case VERIFY_X509: verdict = recover(ctx, m, data, length, signature, signature_length); break;
    case VERIFY_PKCS1_HASHED:
    case VERIFY_PSS:
    case VERIFY_PSS_HASHED: verdict = plain(ctx, m, true, data, length, signature, signature_length); break;
    default: verdict = two_numbers(ctx, m, data, length, signature, signature_length); break;
  }
  EVP_PKEY_CTX_free(ctx);
  return verdict;
}

enum verified verify_hmac(const struct verify_mechanism *m, const uint8_t *key, size_t key_length, const uint8_t *data,
                          size_t length, const uint8_t *signature, size_t signature_length)
{
  uint8_t mac[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!HMAC(EVP_get_digestbyname(m->hash), key, (int)key_length, data, length, mac, &size)) return VERIFIED_NOT;
  return signature_length && signature_length <= size && !memcmp(mac, signature, signature_length) ? VERIFIED
                                                                                                   : VERIFIED_WRONG;
}
