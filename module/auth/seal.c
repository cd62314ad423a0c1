/* Sealing under the key of the user who is logged in. */
#include <limits.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/login_state.h"
#include "core/module.h"
#include "crypto/hash.h"

enum purpose { SEAL, TAG };

/* A copy of a subkey, so that nobody waits while it is used. */
static CK_RV subkey(struct tok_slot *slot, enum purpose purpose, uint8_t key[TOK_KEY])
{
  struct tok_auth *auth = slot->auth;
  pthread_mutex_lock(&auth->state);
  CK_RV rv = atomic_load(&auth->who) == TOK_USER ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
  if (rv == CKR_OK) memcpy(key, purpose == SEAL ? auth->keys->seal : auth->keys->tag, TOK_KEY);
  pthread_mutex_unlock(&auth->state);
  return rv;
}

CK_RV tok_seal(struct tok_slot *slot, const uint8_t *bound, size_t bound_len, const uint8_t *in, size_t len,
               uint8_t **out, size_t *out_len)
{
  uint8_t key[TOK_KEY];
  CK_RV rv = subkey(slot, SEAL, key);
  if (rv != CKR_OK) return rv;
  *out_len = 0;
  *out = len < SIZE_MAX - TOK_BOX_MORE ? tok_alloc(len + TOK_BOX_MORE) : NULL;
  rv = *out == NULL ? CKR_HOST_MEMORY : tok_box_seal(key, bound, bound_len, in, len, *out);
  OPENSSL_cleanse(key, sizeof key);
  if (rv == CKR_OK) {
    *out_len = len + TOK_BOX_MORE;
  } else {
    free(*out);
    *out = NULL;
  }
  return rv;
}

/* What does not open was changed on disk, or belongs to a token that was made anew under another key. */
static CK_RV why_not(struct tok_slot *slot)
{
  struct tok_token_record token;
  struct tok_store *store = atomic_load(&slot->store);
  pthread_mutex_lock(&slot->auth->state);
  uint64_t epoch = slot->auth->epoch;
  pthread_mutex_unlock(&slot->auth->state);
  return store != NULL && tok_store_token(store, &token) == CKR_OK && token.epoch != epoch ? CKR_DEVICE_REMOVED
                                                                                           : CKR_DEVICE_ERROR;
}

CK_RV tok_unseal(struct tok_slot *slot, const uint8_t *bound, size_t bound_len, const uint8_t *in, size_t len,
                 uint8_t **out, size_t *out_len)
{
  uint8_t key[TOK_KEY];
  CK_RV rv = subkey(slot, SEAL, key);
  if (rv != CKR_OK) return rv;
  *out_len = len > TOK_BOX_MORE ? len - TOK_BOX_MORE : 0;
  *out = tok_alloc(*out_len);
  rv = *out == NULL ? CKR_HOST_MEMORY : tok_box_open(key, bound, bound_len, in, len, *out);
  OPENSSL_cleanse(key, sizeof key);
  if (rv != CKR_OK) {
    tok_wipe_free(*out, *out_len);
    *out = NULL;
    *out_len = 0;
  }
  return rv == CKR_PIN_INCORRECT ? why_not(slot) : rv;
}

CK_RV tok_private_tag(struct tok_slot *slot, const uint8_t *value, size_t len, uint8_t tag[16])
{
  uint8_t key[TOK_KEY], mac[32];
  CK_RV rv = subkey(slot, TAG, key);
  if (rv != CKR_OK) return rv;
  rv = tok_hmac_once(TOK_SHA256, key, sizeof key, value, len, mac);
  if (rv == CKR_OK) memcpy(tag, mac, 16);
  OPENSSL_cleanse(key, sizeof key);
  return rv;
}
