/* The box of a saved state. */
#include "auth/state_box.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "auth/keybox.h"
#include "core/module.h"
#include "core/slots.h"
#include "store/store.h"

enum { SEALED_KEY = TOK_KEY + TOK_BOX_MORE };

struct header {
  char magic[8];
  uint8_t process[16]; /* whose key it is */
  uint8_t by_process[SEALED_KEY];
  uint8_t by_token[SEALED_KEY]; /* zeros: nobody was logged in */
};
_Static_assert(sizeof(struct header) == 24 + 2 * SEALED_KEY, "no gaps");

static const char magic[8] = "p11tkst";

/* What every part of a box is bound to. */
struct bound {
  char purpose[8];
  char serial[16];
  uint64_t epoch, slot; /* of a blank token the slot is all that there is */
};

/* The key of this process; it outlives C_Finalize, as a state may. */
static struct {
  pthread_mutex_t lock;
  bool made;
  uint8_t name[16], key[TOK_KEY];
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

void tok_state_box_after_fork_child(void)
{
  OPENSSL_cleanse(process.key, sizeof process.key);
  process.made = false;
  process.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static CK_RV process_key(uint8_t name[16], uint8_t key[TOK_KEY])
{
  CK_RV rv = CKR_OK;
  pthread_mutex_lock(&process.lock);
  if (!process.made) {
    rv = tok_key_random(process.name, sizeof process.name);
    if (rv == CKR_OK) rv = tok_key_random(process.key, sizeof process.key);
    process.made = rv == CKR_OK;
  }
  memcpy(name, process.name, sizeof process.name);
  memcpy(key, process.key, sizeof process.key);
  pthread_mutex_unlock(&process.lock);
  return rv;
}

static CK_RV bind(struct tok_slot *slot, struct bound *bound)
{
  struct tok_token_record token;
  memset(bound, 0, sizeof *bound);
  memcpy(bound->purpose, magic, sizeof magic);
  CK_RV rv = tok_auth_token(slot, &token);
  if (rv == CKR_OK) {
    memcpy(bound->serial, token.serial, sizeof bound->serial);
    bound->epoch = token.epoch;
  } else if (rv == CKR_TOKEN_NOT_RECOGNIZED) {
    bound->slot = slot->id;
    rv = CKR_OK;
  }
  return rv;
}

size_t tok_state_box_size(size_t len)
{
  return sizeof(struct header) + len + TOK_BOX_MORE;
}

/* The state's key under the token's, if a user is logged in. */
static CK_RV seal_by_token(struct tok_slot *slot, const struct bound *bound, const uint8_t key[TOK_KEY],
                           uint8_t box[SEALED_KEY])
{
  uint8_t *sealed = NULL;
  size_t len = 0;
  CK_RV rv = tok_seal(slot, (const uint8_t *)bound, sizeof *bound, key, TOK_KEY, &sealed, &len);
  if (rv == CKR_USER_NOT_LOGGED_IN) return CKR_OK;
  if (rv == CKR_OK) memcpy(box, sealed, SEALED_KEY);
  free(sealed);
  return rv;
}

/* The state itself is bound to all that is before it, too. */
struct whole {
  struct header header;
  struct bound bound;
};

CK_RV tok_state_box_seal(struct tok_slot *slot, const uint8_t *state, size_t len, uint8_t *box)
{
  struct whole w;
  uint8_t key[TOK_KEY], own[TOK_KEY];
  memset(&w, 0, sizeof w);
  memcpy(w.header.magic, magic, sizeof magic);
  CK_RV rv = bind(slot, &w.bound);
  if (rv == CKR_OK) rv = process_key(w.header.process, own);
  if (rv == CKR_OK) rv = tok_key_random(key, sizeof key);
  if (rv == CKR_OK) rv = tok_box_seal(own, &w.bound, sizeof w.bound, key, sizeof key, w.header.by_process);
  if (rv == CKR_OK) rv = seal_by_token(slot, &w.bound, key, w.header.by_token);
  if (rv == CKR_OK) rv = tok_box_seal(key, &w, sizeof w, state, len, box + sizeof w.header);
  if (rv == CKR_OK) memcpy(box, &w.header, sizeof w.header);
  OPENSSL_cleanse(key, sizeof key);
  OPENSSL_cleanse(own, sizeof own);
  return rv;
}

static CK_RV open_key(struct tok_slot *slot, const struct whole *w, uint8_t key[TOK_KEY])
{
  uint8_t name[16], own[TOK_KEY], *opened = NULL;
  size_t len = 0;
  CK_RV rv = process_key(name, own);
  if (rv == CKR_OK && memcmp(name, w->header.process, sizeof name) == 0) {
    rv = tok_box_open(own, &w->bound, sizeof w->bound, w->header.by_process, SEALED_KEY, key);
  } else if (rv == CKR_OK) {
    rv = tok_unseal(slot, (const uint8_t *)&w->bound, sizeof w->bound, w->header.by_token, SEALED_KEY, &opened, &len);
    if (rv == CKR_OK) memcpy(key, opened, TOK_KEY);
    tok_wipe_free(opened, len);
  }
  OPENSSL_cleanse(own, sizeof own);
  return rv;
}

CK_RV tok_state_box_open(struct tok_slot *slot, const uint8_t *box, size_t len, uint8_t **state, size_t *state_len)
{
  struct whole w;
  uint8_t key[TOK_KEY];
  if (len <= tok_state_box_size(0) || memcmp(box, magic, sizeof magic) != 0) return CKR_SAVED_STATE_INVALID;
  memset(&w, 0, sizeof w);
  memcpy(&w.header, box, sizeof w.header);
  CK_RV rv = bind(slot, &w.bound);
  if (rv == CKR_OK) rv = open_key(slot, &w, key);
  if (rv == CKR_OK) {
    *state_len = len - tok_state_box_size(0);
    *state = tok_alloc(*state_len);
    rv = *state != NULL ? tok_box_open(key, &w, sizeof w, box + sizeof w.header, len - sizeof w.header, *state)
                        : CKR_HOST_MEMORY;
    if (rv != CKR_OK) tok_wipe_free(*state, *state_len);
  }
  OPENSSL_cleanse(key, sizeof key);
  switch (rv) {
    case CKR_PIN_INCORRECT:  /* of a box: another key, or not what was sealed */
    case CKR_DEVICE_ERROR:   /* the same, of tok_unseal */
    case CKR_DEVICE_REMOVED: /* the token was initialised anew */
    case CKR_USER_NOT_LOGGED_IN: /* another process's */ return CKR_SAVED_STATE_INVALID;
    default: return rv;
  }
}
