/* The public key of a key of today, as its module tells of it. */
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/verify_part.h"

#define MOST 4096 /* bytes of a component */

struct component {
  uint8_t bytes[MOST];
  size_t length;
};

static bool ask(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                CK_ATTRIBUTE_TYPE type, struct component *to)
{
  CK_ATTRIBUTE a = {type, to->bytes, sizeof to->bytes};
  to->length = 0;
  if (f->C_GetAttributeValue(session, object, &a, 1) != CKR_OK || a.ulValueLen > sizeof to->bytes) return false;
  to->length = a.ulValueLen;
  return to->length > 0;
}

static EVP_PKEY *from_numbers(const char *algorithm, const char *const *name, const struct component *value,
                              unsigned count)
{
  OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
  BIGNUM *number[4] = {NULL};
  bool good = builder != NULL;
  for (unsigned i = 0; i < count && good; i++) {
    number[i] = BN_bin2bn(value[i].bytes, (int)value[i].length, NULL);
    good = number[i] && OSSL_PARAM_BLD_push_BN(builder, name[i], number[i]);
  }
  OSSL_PARAM *params = good ? OSSL_PARAM_BLD_to_param(builder) : NULL;
  EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL) : NULL;
  EVP_PKEY *key = NULL;
  if (!ctx || EVP_PKEY_fromdata_init(ctx) <= 0 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0)
    key = NULL;
  EVP_PKEY_CTX_free(ctx);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  for (unsigned i = 0; i < count; i++) BN_free(number[i]);
  return key;
}

static EVP_PKEY *rsa(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  static const char *const name[] = {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E};
  struct component value[2];
  if (!ask(f, session, object, CKA_MODULUS, &value[0])) return NULL;
  if (!ask(f, session, object, CKA_PUBLIC_EXPONENT, &value[1])) return NULL;
  return from_numbers("RSA", name, value, 2);
}

static EVP_PKEY *dsa(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  static const char *const name[] = {OSSL_PKEY_PARAM_FFC_P, OSSL_PKEY_PARAM_FFC_Q, OSSL_PKEY_PARAM_FFC_G,
                                     OSSL_PKEY_PARAM_PUB_KEY};
  static const CK_ATTRIBUTE_TYPE type[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE, CKA_VALUE};
  struct component value[4];
  for (unsigned i = 0; i < 4; i++)
    if (!ask(f, session, object, type[i], &value[i])) return NULL;
  return from_numbers("DSA", name, value, 4);
}

/* The contents of a DER OCTET STRING that fills the bytes, or the bytes: modules before 2.40 gave the point bare. */
static const uint8_t *point_of(const struct component *point, size_t *length)
{
  const unsigned char *at = point->bytes;
  long size;
  int tag, class;
  *length = point->length;
  if (ASN1_get_object(&at, &size, &tag, &class, (long)point->length) & 0x80) return point->bytes;
  if (tag != V_ASN1_OCTET_STRING || class != V_ASN1_UNIVERSAL || at + size != point->bytes + point->length)
    return point->bytes;
  *length = (size_t)size;
  return at;
}

/* A SubjectPublicKeyInfo with the curve as the module names it. */
static EVP_PKEY *ec(const struct component *params, const uint8_t *point, size_t length)
{
  X509_PUBKEY *info = X509_PUBKEY_new();
  const unsigned char *at = params->bytes;
  ASN1_TYPE *curve = d2i_ASN1_TYPE(NULL, &at, (long)params->length);
  EVP_PKEY *key = NULL;
  uint8_t *copy = OPENSSL_memdup(point, length);
  if (info && curve && copy && (curve->type == V_ASN1_OBJECT || curve->type == V_ASN1_SEQUENCE)) {
    const bool named = curve->type == V_ASN1_OBJECT;
    void *value = named ? (void *)OBJ_dup(curve->value.object) : (void *)ASN1_STRING_dup(curve->value.sequence);
    if (X509_PUBKEY_set0_param(info, OBJ_nid2obj(NID_X9_62_id_ecPublicKey), curve->type, value, copy, (int)length)) {
      copy = NULL;
      uint8_t *der = NULL;
      const int size = i2d_X509_PUBKEY(info, &der);
      const unsigned char *from = der;
      /* Through DER, so that the key is made by whoever reads it. */
      if (size > 0) key = d2i_PUBKEY(NULL, &from, size);
      OPENSSL_free(der);
    }
  }
  OPENSSL_free(copy);
  ASN1_TYPE_free(curve);
  X509_PUBKEY_free(info);
  return key;
}

static EVP_PKEY *curve_key(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                           uint64_t type)
{
  struct component params, value;
  size_t length;
  if (!ask(f, session, object, CKA_EC_POINT, &value)) return NULL;
  if (type == CKK_EC) {
    const uint8_t *point = point_of(&value, &length);
    return ask(f, session, object, CKA_EC_PARAMS, &params) ? ec(&params, point, length) : NULL;
  }
  /* Edwards: the length tells the curve, bare or wrapped. */
  const uint8_t *point = value.length == 32 || value.length == 57 ? value.bytes : point_of(&value, &length);
  if (point == value.bytes) length = value.length;
  if (length != 32 && length != 57) return NULL;
  return EVP_PKEY_new_raw_public_key(length == 32 ? EVP_PKEY_ED25519 : EVP_PKEY_ED448, NULL, point, length);
}

/* What the object says of itself, as far as its class has it. */
static EVP_PKEY *key_of(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                        uint64_t type, bool is_public)
{
  EVP_PKEY *key = NULL;
  struct component info;
  if (type == CKK_RSA) key = rsa(f, session, object);
  if (is_public && type == CKK_DSA) key = dsa(f, session, object);
  if (is_public && (type == CKK_EC || type == CKK_EC_EDWARDS)) key = curve_key(f, session, object, type);
  if (!key && ask(f, session, object, CKA_PUBLIC_KEY_INFO, &info)) {
    const unsigned char *at = info.bytes;
    key = d2i_PUBKEY(NULL, &at, (long)info.length);
  }
  return key;
}

/* Public keys with the CKA_ID of this one, looked for in a session of our own: the application's may be searching. */
static void by_id(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, uint64_t type,
                  struct verify_key *to)
{
  struct component id;
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE own = 0;
  CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
  if (!f->C_GetSessionInfo || !f->C_OpenSession || !f->C_CloseSession || !f->C_FindObjectsInit || !f->C_FindObjects ||
      !f->C_FindObjectsFinal)
    return;
  if (!ask(f, session, object, CKA_ID, &id) || f->C_GetSessionInfo(session, &info) != CKR_OK) return;
  if (f->C_OpenSession(info.slotID, CKF_SERIAL_SESSION, NULL, NULL, &own) != CKR_OK) return;
  CK_ATTRIBUTE template[] = {
      {CKA_CLASS, &class,   sizeof class},
      {CKA_ID,    id.bytes, id.length   }
  };
  CK_OBJECT_HANDLE found[VERIFY_KEYS] = {0};
  CK_ULONG count = 0;
  if (f->C_FindObjectsInit(own, template, 2) == CKR_OK) {
    if (f->C_FindObjects(own, found, VERIFY_KEYS, &count) != CKR_OK) count = 0;
    f->C_FindObjectsFinal(own);
  }
  for (CK_ULONG i = 0; i < count && i < VERIFY_KEYS; i++) {
    EVP_PKEY *key = key_of(f, own, found[i], type, true);
    if (key) to->key[to->count++] = key;
  }
  f->C_CloseSession(own);
}

struct verify_key *verify_key_read(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                   const struct verify_mechanism *m)
{
  struct verify_key *to = model_alloc(sizeof *to);
  CK_KEY_TYPE type = 0;
  CK_BBOOL token = CK_FALSE;
  CK_ATTRIBUTE kind = {CKA_KEY_TYPE, &type, sizeof type}, stays = {CKA_TOKEN, &token, sizeof token};
  if (!f->C_GetAttributeValue || f->C_GetAttributeValue(session, object, &kind, 1) != CKR_OK) return to;
  to->token = f->C_GetAttributeValue(session, object, &stays, 1) == CKR_OK && token;
  if (m->how == VERIFY_HMAC) {
    struct component secret;
    if (ask(f, session, object, CKA_VALUE, &secret)) {
      to->secret = model_alloc(secret.length);
      to->length = secret.length;
      memcpy(to->secret, secret.bytes, secret.length);
    }
    explicit_bzero(&secret, sizeof secret);
    return to;
  }
  EVP_PKEY *key = key_of(f, session, object, type, false);
  if (key)
    to->key[to->count++] = key;
  else
    by_id(f, session, object, type, to);
  return to;
}

void verify_key_free(void *value)
{
  struct verify_key *key = value;
  if (!key) return;
  for (unsigned i = 0; i < key->count; i++) EVP_PKEY_free(key->key[i]);
  if (key->secret) explicit_bzero(key->secret, key->length);
  free(key->secret);
  free(key);
}
