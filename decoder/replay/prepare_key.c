/* Fresh keys of the kinds and sizes that the trace knew. */
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/prepare_part.h"

/* What is known of a pair's kind. */
struct kind {
  uint64_t type, bits;
  const uint8_t *params; /* of an elliptic curve; prime, subprime and base are taken from the portraits */
  size_t params_length;
};

static void take(struct kind *kind, const struct portrait *portrait)
{
  uint64_t number;
  if (!portrait) return;
  if (portrait_number(portrait, CKA_KEY_TYPE, &number)) kind->type = number;
  if (portrait_number(portrait, CKA_MODULUS_BITS, &number) && number) kind->bits = number;
  const uint64_t modulus = portrait_length(portrait, CKA_MODULUS);
  if (!kind->bits && modulus && modulus <= 8192) kind->bits = modulus / 8 * 64;
  const uint8_t *params = portrait_bytes(portrait, CKA_EC_PARAMS, &number);
  if (params && number) {
    kind->params = params;
    kind->params_length = number;
  }
}

/* The certificate tells where no attribute does: Firefox asks a private key for little. */
static void take_certificate(struct prepare *p, struct kind *kind, const struct portrait *certificate)
{
  size_t length;
  const uint8_t *der = certificate ? portrait_bytes(certificate, CKA_VALUE, &length) : NULL;
  X509 *x = der ? d2i_X509(NULL, &der, (long)length) : NULL;
  EVP_PKEY *key = x ? X509_get0_pubkey(x) : NULL;
  if (key) {
    switch (EVP_PKEY_get_base_id(key)) {
      case EVP_PKEY_RSA:
        if (kind->type == UINT64_MAX) kind->type = CKK_RSA;
        if (!kind->bits) kind->bits = (uint64_t)EVP_PKEY_get_bits(key);
        break;
      case EVP_PKEY_EC: {
        char group[64];
        if (kind->type == UINT64_MAX) kind->type = CKK_EC;
        if (kind->params || !EVP_PKEY_get_group_name(key, group, sizeof group, NULL)) break;
        uint8_t *copy = NULL;
        const int size = i2d_ASN1_OBJECT(OBJ_txt2obj(group, 0), &copy);
        if (size > 0) {
          kind->params = (const uint8_t *)arena_text(&p->memory, copy, (size_t)size);
          kind->params_length = (size_t)size;
        }
        OPENSSL_free(copy);
        break;
      }
      default: break;
    }
  }
  X509_free(x);
}

static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

/* The mechanism, and what the public template must say; false: such pairs are not made. */
static bool domain(struct prepare *p, const struct kind *kind, const struct portrait *public,
                   const struct portrait *private, CK_MECHANISM *mechanism, struct prepare_template *t)
{
  static const uint8_t exponent[] = {1, 0, 1};
  static const CK_ATTRIBUTE_TYPE components[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE};
  size_t length;
  *mechanism = (CK_MECHANISM){0};
  switch (kind->type) {
    case CKK_RSA: {
      const uint8_t *e = public ? portrait_bytes(public, CKA_PUBLIC_EXPONENT, &length) : NULL;
      if (!e && private) e = portrait_bytes(private, CKA_PUBLIC_EXPONENT, &length);
      mechanism->mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN;
      prepare_put_number(p, t, CKA_MODULUS_BITS, kind->bits ? kind->bits : 2048, true);
      prepare_put(p, t, CKA_PUBLIC_EXPONENT, e && length ? e : exponent, e && length ? length : sizeof exponent, true);
      return true;
    }
    case CKK_EC:
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY:
      if (!kind->params && kind->type != CKK_EC) return false;
      mechanism->mechanism = kind->type == CKK_EC           ? CKM_EC_KEY_PAIR_GEN
                             : kind->type == CKK_EC_EDWARDS ? CKM_EC_EDWARDS_KEY_PAIR_GEN
                                                            : CKM_EC_MONTGOMERY_KEY_PAIR_GEN;
      prepare_put(p, t, CKA_EC_PARAMS, kind->params ? kind->params : p256,
                  kind->params ? kind->params_length : sizeof p256, true);
      return true;
    case CKK_DSA:
    case CKK_DH:
      mechanism->mechanism = kind->type == CKK_DSA ? CKM_DSA_KEY_PAIR_GEN : CKM_DH_PKCS_KEY_PAIR_GEN;
      for (unsigned i = 0; i < 3; i++) {
        if (kind->type == CKK_DH && components[i] == CKA_SUBPRIME) continue;
        const uint8_t *value = public ? portrait_bytes(public, components[i], &length) : NULL;
        if (!value && private) value = portrait_bytes(private, components[i], &length);
        if (!value || !length) return false;
        prepare_put(p, t, components[i], value, length, true);
      }
      return true;
    default: return false;
  }
}

/* Half of a pair as the trace knew it; where it knew nothing of it, what a key of the kind is used for. */
static void half(struct prepare *p, struct prepare_template *t, const struct portrait *portrait,
                 const struct kind *kind, bool is_private)
{
  prepare_put_bool(p, t, CKA_TOKEN, portrait != NULL, true);
  if (portrait) prepare_put_known(p, t, portrait);
  const bool curve = kind->type == CKK_EC || kind->type == CKK_EC_MONTGOMERY;
  if (is_private) {
    prepare_put_bool(p, t, CKA_PRIVATE, true, false);
    if (kind->type != CKK_EC_MONTGOMERY && kind->type != CKK_DH) prepare_put_bool(p, t, CKA_SIGN, true, false);
    if (kind->type == CKK_RSA) prepare_put_bool(p, t, CKA_DECRYPT, true, false);
    if (kind->type == CKK_RSA) prepare_put_bool(p, t, CKA_UNWRAP, true, false);
    if (curve || kind->type == CKK_DH) prepare_put_bool(p, t, CKA_DERIVE, true, false);
    if (portrait) prepare_put_bool(p, t, CKA_SENSITIVE, true, false);
  } else if (kind->type != CKK_EC_MONTGOMERY && kind->type != CKK_DH) {
    prepare_put_bool(p, t, CKA_VERIFY, true, false);
  }
}

bool prepare_pair(struct prepare *p, const struct portrait *public, const struct portrait *private,
                  const struct portrait *certificate)
{
  const struct portrait *known = private ? private : public;
  const char *what = prepare_name(p, known);
  struct kind kind = {.type = UINT64_MAX};
  take(&kind, private);
  take(&kind, public);
  take_certificate(p, &kind, certificate);
  if (kind.type == UINT64_MAX) {
    prepare_say(p, "%s: not made, the trace does not say of which kind it is", what);
    return false;
  }
  struct prepare_template open = {0}, closed = {0};
  CK_MECHANISM mechanism;
  if (!domain(p, &kind, public, private, &mechanism, &open)) {
    const char *type = p11_constant_name(P11_DOM_CKK, kind.type);
    prepare_say(p, "%s: not made, keys of kind %s are not", what, type ? type : "unknown");
    return false;
  }
  half(p, &open, public, &kind, false);
  half(p, &closed, private, &kind, true);
  CK_OBJECT_HANDLE made[2];
  const CK_RV rv = prepare_make(p, what, &mechanism, &open, &closed, made);
  if (rv != CKR_OK) {
    prepare_say(p, "%s: not made, C_GenerateKeyPair returned %s", what, prepare_code(p, rv));
    return false;
  }
  /* The half that nobody looks for is a session object, and goes with the session. */
  p->made += (public != NULL) + (private != NULL);
  if (certificate && private)
    prepare_say(p, "%s: its certificate is that of the recorded key, not of the fresh one", what);
  return true;
}

static CK_MECHANISM_TYPE secret_mechanism(uint64_t type)
{
  switch (type) {
    case CKK_AES: return CKM_AES_KEY_GEN;
    case CKK_DES: return CKM_DES_KEY_GEN;
    case CKK_DES2: return CKM_DES2_KEY_GEN;
    case CKK_DES3: return CKM_DES3_KEY_GEN;
    case CKK_CHACHA20: return CKM_CHACHA20_KEY_GEN;
    case CKK_CAMELLIA: return CKM_CAMELLIA_KEY_GEN;
    default: return CKM_GENERIC_SECRET_KEY_GEN;
  }
}

bool prepare_secret(struct prepare *p, const struct portrait *portrait)
{
  const char *what = prepare_name(p, portrait);
  struct prepare_template t = {0};
  uint64_t type = CKK_GENERIC_SECRET, length;
  portrait_number(portrait, CKA_KEY_TYPE, &type);
  if (!portrait_number(portrait, CKA_VALUE_LEN, &length)) length = portrait_length(portrait, CKA_VALUE);
  if (length == 0 || length > 1024) length = 16;
  CK_MECHANISM mechanism = {secret_mechanism(type), NULL, 0};
  prepare_put_bool(p, &t, CKA_TOKEN, true, true);
  if (type != CKK_DES && type != CKK_DES2 && type != CKK_DES3 && type != CKK_CHACHA20)
    prepare_put_number(p, &t, CKA_VALUE_LEN, length, true);
  prepare_put_number(p, &t, CKA_KEY_TYPE, type, false);
  prepare_put_known(p, &t, portrait);
  CK_OBJECT_HANDLE made[2];
  const CK_RV rv = prepare_make(p, what, &mechanism, &t, NULL, made);
  if (rv != CKR_OK) {
    prepare_say(p, "%s: not made, C_GenerateKey returned %s", what, prepare_code(p, rv));
    return false;
  }
  p->made++;
  return true;
}
