/* Logging in and out. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/login_state.h"
#include "auth/pin_record.h"
#include "core/module.h"
#include "core/presence.h"
#include "core/sessions.h"
#include "crypto/op.h"
#include "object/objects.h"

struct tok_auth *tok_auth_new(struct tok_slot *slot)
{
  (void)slot;
  struct tok_auth *auth = tok_alloc(sizeof *auth);
  if (auth == NULL) return NULL;
  auth->keys = tok_keypage_new();
  if (auth->keys == NULL) {
    free(auth);
    return NULL;
  }
  pthread_mutex_init(&auth->login, NULL);
  pthread_mutex_init(&auth->state, NULL);
  atomic_store(&auth->generation, 1);
  return auth;
}

void tok_auth_free(struct tok_auth *auth)
{
  if (auth == NULL) return;
  tok_keypage_free(auth->keys);
  pthread_mutex_destroy(&auth->login);
  pthread_mutex_destroy(&auth->state);
  free(auth);
}

enum tok_who tok_auth_who(struct tok_slot *slot)
{
  return atomic_load(&slot->auth->who);
}

uint64_t tok_auth_generation(struct tok_slot *slot)
{
  return atomic_load(&slot->auth->generation);
}

CK_RV tok_auth_store(struct tok_slot *slot, CK_RV blank, struct tok_store **store)
{
  *store = atomic_load(&slot->store);
  if (*store != NULL) return CKR_OK;
  return slot->broken != CKR_OK ? slot->broken : blank;
}

/* --- logging out ------------------------------------------------------------------------------------------------ */

/* The state becomes public and the keys go; at once, and whatever locks the caller holds. `epoch` 0: in any case,
 * else only if the login is of another one. */
static void make_public(struct tok_auth *auth, uint64_t epoch)
{
  pthread_mutex_lock(&auth->state);
  if (atomic_load(&auth->who) != TOK_NOBODY && (epoch == 0 || auth->epoch != epoch)) {
    atomic_store(&auth->who, TOK_NOBODY);
    atomic_fetch_add(&auth->generation, 1);
    tok_keypage_wipe(auth->keys);
    auth->master = false;
    atomic_store(&auth->unswept, true);
  }
  pthread_mutex_unlock(&auth->state);
}

static void end_private(struct tok_session *session, void *context)
{
  (void)context;
  for (int kind = 0; kind < TOK_OPS; kind++)
    if (session->op[kind] != NULL && session->op[kind]->private) tok_session_end(session, (enum tok_op_kind)kind);
}

/* Ends what a login leaves behind: operations with private keys (softhsm/SoftHSMv2#900: C_Sign worked after C_Logout),
 * private session objects, copies of private token objects. */
static void sweep(struct tok_slot *slot)
{
  if (!atomic_exchange(&slot->auth->unswept, false)) return;
  tok_slot_visit_sessions(slot, end_private, NULL);
  tok_objects_logged_out(slot);
}

void tok_auth_drop(struct tok_slot *slot)
{
  make_public(slot->auth, 0);
  sweep(slot);
}

CK_RV tok_auth_logout(struct tok_slot *slot)
{
  pthread_mutex_lock(&slot->auth->login);
  CK_RV rv = tok_auth_who(slot) == TOK_NOBODY ? CKR_USER_NOT_LOGGED_IN : CKR_OK;
  tok_auth_drop(slot);
  pthread_mutex_unlock(&slot->auth->login);
  return rv;
}

void tok_auth_sessions_closed(struct tok_slot *slot)
{
  pthread_mutex_lock(&slot->auth->login);
  /* A session may have been opened, and a user logged in at it, since the caller counted none. */
  pthread_mutex_lock(&slot->lock);
  bool closed = slot->sessions == 0;
  pthread_mutex_unlock(&slot->lock);
  if (closed) tok_auth_drop(slot);
  pthread_mutex_unlock(&slot->auth->login);
}

void tok_auth_removed(struct tok_slot *slot)
{
  make_public(slot->auth, 0);
  /* Who has the lock sweeps, or the next one who asks for the token. */
  if (pthread_mutex_trylock(&slot->auth->login) != 0) return;
  sweep(slot);
  pthread_mutex_unlock(&slot->auth->login);
}

/* --- what is on disk -------------------------------------------------------------------------------------------- */

/* The row, from memory if nothing was committed since it was read. */
static CK_RV read_row(struct tok_auth *auth, struct tok_store *store, struct tok_token_record *token)
{
  uint64_t number = 0;
  CK_RV rv = tok_store_change_number(store, &number);
  if (rv != CKR_OK) return rv;
  pthread_mutex_lock(&auth->state);
  bool known = auth->known && auth->number == number;
  if (known) *token = auth->token;
  pthread_mutex_unlock(&auth->state);
  if (known) return CKR_OK;
  rv = tok_store_token(store, token);
  if (rv != CKR_OK) return rv;
  pthread_mutex_lock(&auth->state);
  auth->token = *token;
  auth->number = number; /* from before the row was read: at worst it is read once more */
  auth->known = true;
  pthread_mutex_unlock(&auth->state);
  return CKR_OK;
}

static CK_RV current(struct tok_slot *slot, struct tok_token_record *token)
{
  struct tok_store *store;
  CK_RV rv = tok_auth_store(slot, CKR_TOKEN_NOT_RECOGNIZED, &store);
  if (rv == CKR_OK) rv = read_row(slot->auth, store, token);
  if (rv == CKR_OK) make_public(slot->auth, token->epoch);
  return rv;
}

CK_RV tok_auth_token(struct tok_slot *slot, struct tok_token_record *token)
{
  CK_RV rv = current(slot, token);
  /* Not while somebody logs in or out: they sweep. */
  if (atomic_load(&slot->auth->unswept) && pthread_mutex_trylock(&slot->auth->login) == 0) {
    sweep(slot);
    pthread_mutex_unlock(&slot->auth->login);
  }
  return rv;
}

void tok_auth_refresh(struct tok_slot *slot)
{
  struct tok_token_record token;
  (void)current(slot, &token);
  sweep(slot);
}

uint64_t tok_auth_epoch(struct tok_slot *slot)
{
  struct tok_auth *auth = slot->auth;
  struct tok_token_record token = {.epoch = 0};
  pthread_mutex_lock(&auth->state);
  bool logged_in = atomic_load(&auth->who) != TOK_NOBODY;
  uint64_t epoch = auth->epoch;
  pthread_mutex_unlock(&auth->state);
  if (!logged_in && current(slot, &token) == CKR_OK) epoch = token.epoch;
  return epoch;
}

/* --- logging in ------------------------------------------------------------------------------------------------- */

/* C_Login, PKCS #11 3.2: the SO cannot log in while a R/O session is open. But NSS sets a first PIN with its own R/O
 * session open (pk11auth.c, PK11_InitPin), so not while the user has no PIN yet. The slot is locked. */
static bool read_only_bars(const struct tok_slot *slot, const struct tok_token_record *token)
{
  return slot->sessions > slot->rw_sessions && token->user.set;
}

static CK_RV check_sessions(struct tok_slot *slot, enum tok_who who, const struct tok_token_record *token)
{
  if (who != TOK_SO) return CKR_OK;
  pthread_mutex_lock(&slot->lock);
  bool bars = read_only_bars(slot, token);
  pthread_mutex_unlock(&slot->lock);
  return bars ? CKR_SESSION_READ_ONLY_EXISTS : CKR_OK;
}

/* The user is in, unless the token was removed while the PIN was tried. */
static CK_RV let_in(struct tok_slot *slot, enum tok_who who, uint32_t insertion, const struct tok_token_record *token,
                    const struct tok_keys *keys)
{
  struct tok_auth *auth = slot->auth;
  pthread_mutex_lock(&slot->lock);
  /* Sessions may have come while the PIN was tried. */
  CK_RV rv = who == TOK_SO && read_only_bars(slot, token) ? CKR_SESSION_READ_ONLY_EXISTS : CKR_OK;
  pthread_mutex_lock(&auth->state);
  /* Under this lock: tok_auth_removed comes after a removal, so either it is seen here or this login there. */
  if (rv == CKR_OK && tok_slot_changes(slot) != insertion) rv = CKR_DEVICE_REMOVED;
  if (rv == CKR_OK) {
    *auth->keys = *keys;
    auth->master = who == TOK_USER || token->so.usable_master;
    auth->epoch = token->epoch;
    atomic_store(&auth->who, who);
    atomic_fetch_add(&auth->generation, 1);
  }
  pthread_mutex_unlock(&auth->state);
  pthread_mutex_unlock(&slot->lock);
  return rv;
}

static CK_RV log_in(struct tok_slot *slot, enum tok_who who, const CK_BYTE *pin, CK_ULONG len)
{
  struct tok_token_record token;
  struct tok_keys keys = {{0}, {0}, {0}};
  struct tok_store *store;
  uint32_t insertion = atomic_load(&slot->insertion);
  CK_RV rv = tok_auth_store(slot, CKR_USER_PIN_NOT_INITIALIZED, &store);
  if (rv == CKR_OK) rv = tok_store_token(store, &token);
  if (rv == CKR_OK) rv = check_sessions(slot, who, &token);
  if (rv == CKR_OK) rv = tok_pin_try(store, who, pin, len, &token, keys.master);
  if (rv == CKR_OK && who == TOK_USER) rv = tok_key_from_key(keys.master, "p11token seal", keys.seal);
  if (rv == CKR_OK && who == TOK_USER) rv = tok_key_from_key(keys.master, "p11token tag", keys.tag);
  if (rv == CKR_OK) rv = let_in(slot, who, insertion, &token, &keys);
  OPENSSL_cleanse(&keys, sizeof keys);
  return rv;
}

CK_RV tok_auth_login(struct tok_slot *slot, CK_USER_TYPE user, const CK_BYTE *pin, CK_ULONG len)
{
  if (user != CKU_USER && user != CKU_SO) return CKR_USER_TYPE_INVALID;
  enum tok_who who = user == CKU_SO ? TOK_SO : TOK_USER, already;
  CK_RV rv;
  pthread_mutex_lock(&slot->auth->login);
  tok_auth_refresh(slot);
  already = tok_auth_who(slot);
  if (already == who)
    rv = CKR_USER_ALREADY_LOGGED_IN;
  else if (already != TOK_NOBODY)
    rv = CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
  else
    rv = log_in(slot, who, pin, len);
  pthread_mutex_unlock(&slot->auth->login);
  return rv;
}

CK_RV tok_auth_verify(struct tok_slot *slot, const CK_BYTE *pin, CK_ULONG len)
{
  struct tok_token_record token;
  struct tok_store *store;
  uint8_t master[TOK_KEY];
  pthread_mutex_lock(&slot->auth->login);
  tok_auth_refresh(slot);
  CK_RV rv = tok_auth_who(slot) == TOK_USER ? CKR_OK : CKR_OPERATION_NOT_INITIALIZED;
  if (rv == CKR_OK) rv = tok_auth_store(slot, CKR_OPERATION_NOT_INITIALIZED, &store);
  if (rv == CKR_OK) {
    rv = tok_pin_try(store, TOK_USER, pin, len, &token, master);
    /* PKCS #11 3.2, 4.10: a PIN that becomes locked by this also logs the user out. */
    if (rv == CKR_PIN_LOCKED) tok_auth_drop(slot);
    OPENSSL_cleanse(master, sizeof master);
  }
  pthread_mutex_unlock(&slot->auth->login);
  return rv;
}

/* --- for pins.c ------------------------------------------------------------------------------------------------- */

CK_RV tok_auth_so_master(struct tok_slot *slot, uint8_t master[TOK_KEY], bool *usable, uint64_t *epoch)
{
  struct tok_auth *auth = slot->auth;
  pthread_mutex_lock(&auth->state);
  CK_RV rv = atomic_load(&auth->who) == TOK_SO ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
  memcpy(master, auth->keys->master, TOK_KEY);
  *usable = auth->master;
  *epoch = auth->epoch;
  pthread_mutex_unlock(&auth->state);
  return rv;
}

void tok_auth_so_gets_master(struct tok_slot *slot, const uint8_t master[TOK_KEY])
{
  struct tok_auth *auth = slot->auth;
  pthread_mutex_lock(&auth->state);
  if (atomic_load(&auth->who) == TOK_SO) {
    memcpy(auth->keys->master, master, TOK_KEY);
    auth->master = true;
  }
  pthread_mutex_unlock(&auth->state);
}
