/* Checking of signatures from inside. */
#ifndef REPLAY_VERIFY_PART_H
#define REPLAY_VERIFY_PART_H

#include <openssl/evp.h>

#include "decoder/model/table.h"
#include "decoder/replay/live.h"

enum verify_how {
  VERIFY_NO, /* a mechanism that is not checked */
  VERIFY_PKCS1,
  VERIFY_PKCS1_HASHED,
  VERIFY_X509,
  VERIFY_PSS, /* what was signed is a digest */
  VERIFY_PSS_HASHED,
  VERIFY_ECDSA,
  VERIFY_ECDSA_HASHED,
  VERIFY_DSA,
  VERIFY_DSA_HASHED,
  VERIFY_EDDSA,
  VERIFY_HMAC
};

struct verify_mechanism {
  uint8_t how;      /* enum verify_how */
  const char *hash; /* OpenSSL's name; NULL none */
  const char *mask; /* of MGF1 */
  uint64_t salt;    /* length */
};

/* What a C_SignInit of today asks for. */
struct verify_mechanism verify_mechanism_of(const CK_MECHANISM *mechanism);
static inline bool verify_is_hashed(const struct verify_mechanism *m)
{
  return m->how == VERIFY_PKCS1_HASHED || m->how == VERIFY_PSS_HASHED || m->how == VERIFY_ECDSA_HASHED ||
         m->how == VERIFY_DSA_HASHED;
}
/* `data`: what was signed, or its digest where the mechanism hashes. */
enum verified verify_check(const struct verify_mechanism *m, EVP_PKEY *key, const uint8_t *data, size_t length,
                           const uint8_t *signature, size_t signature_length);
enum verified verify_hmac(const struct verify_mechanism *m, const uint8_t *key, size_t key_length, const uint8_t *data,
                          size_t length, const uint8_t *signature, size_t signature_length);

/* The public keys that may belong to a key of today: the ones that the key itself tells of, else those with its CKA_ID. */
#define VERIFY_KEYS 4
struct verify_key {
  EVP_PKEY *key[VERIFY_KEYS];
  unsigned count;
  bool token;      /* the key stays when its session ends */
  uint8_t *secret; /* of an HMAC key that can be read */
  size_t length;
};
struct verify_key *verify_key_read(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                                   const struct verify_mechanism *m);
void verify_key_free(void *key);

#endif
