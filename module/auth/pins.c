/* Setting PINs, and making tokens. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/login_state.h"
#include "auth/pin_record.h"
#include "config/config.h"
#include "core/module.h"
#include "object/objects.h"

/* What is to be written, prepared before the store's transaction, which must be short. */
struct change {
  const struct tok_token_record *seen; /* the row that it was prepared from */
  enum tok_who who;                    /* whose PIN was tried for it */
  struct tok_pin_record pin;           /* the new one */
  bool first;                          /* the user's first PIN: the empty SO PIN goes */
  const CK_UTF8CHAR *label;
};

/* The row has changed since it was seen: what was prepared is void. */
static bool stale(const struct tok_token_record *token, const struct change *c)
{
  return !tok_pin_same(token, c->seen, c->who);
}

/* --- C_SetPIN --------------------------------------------------------------------------------------------------- */

static CK_RV write_pin(struct tok_token_record *token, bool *erase, void *context)
{
  (void)erase;
  struct change *c = context;
  if (stale(token, c)) return CKR_PIN_INCORRECT; /* someone else was faster: the old PIN is no longer right */
  *tok_pin_of(token, c->who) = c->pin;
  return CKR_OK;
}

CK_RV tok_auth_set_pin(struct tok_slot *slot, const CK_BYTE *old_pin, CK_ULONG old_len, const CK_BYTE *new_pin,
                       CK_ULONG new_len)
{
  struct tok_token_record token;
  struct tok_store *store;
  uint8_t master[TOK_KEY];
  pthread_mutex_lock(&slot->auth->login);
  tok_auth_refresh(slot);
  enum tok_who who = tok_auth_who(slot) == TOK_SO ? TOK_SO : TOK_USER;
  struct change c = {.seen = &token, .who = who};
  CK_RV rv = tok_auth_store(slot, CKR_PIN_INCORRECT, &store);
  if (rv == CKR_OK) rv = tok_store_token(store, &token);
  if (rv == CKR_OK && !tok_pin_length(&token, new_len)) rv = CKR_PIN_LEN_RANGE;
  if (rv == CKR_OK) rv = tok_pin_try(store, who, old_pin, old_len, &token, master);
  /* No PIN is right where there is none; C_SetPIN has no code of its own for that. */
  if (rv == CKR_USER_PIN_NOT_INITIALIZED) rv = CKR_PIN_INCORRECT;
  /* An SO's empty PIN becomes a real one: the token needs a key that was never readable without a PIN. */
  bool fresh = rv == CKR_OK && !tok_pin_of(&token, who)->usable_master;
  if (fresh) rv = tok_key_random(master, sizeof master);
  if (rv == CKR_OK)
    rv = tok_pin_make(&c.pin, who, token.serial, new_pin, new_len, tok_pin_of(&token, who)->cost, master);
  if (rv == CKR_OK) rv = tok_store_change_token(store, write_pin, &c);
  if (rv == CKR_OK && fresh) tok_auth_so_gets_master(slot, master);
  OPENSSL_cleanse(master, sizeof master);
  pthread_mutex_unlock(&slot->auth->login);
  return rv;
}

/* --- C_InitPIN -------------------------------------------------------------------------------------------------- */

static CK_RV write_user_pin(struct tok_token_record *token, bool *erase, void *context)
{
  (void)erase;
  struct change *c = context;
  if (token->epoch != c->seen->epoch) return CKR_USER_NOT_LOGGED_IN;
  if (c->first) {
    /* The master key is new: not if another process made one meanwhile. */
    if (token->user.set || !token->so.set || token->so.usable_master) return CKR_USER_NOT_LOGGED_IN;
    uint8_t cost = token->so.cost;
    memset(&token->so, 0, sizeof token->so);
    token->so.cost = cost;
  }
  token->user = c->pin;
  return CKR_OK;
}

CK_RV tok_auth_init_pin(struct tok_slot *slot, const CK_BYTE *pin, CK_ULONG len)
{
  struct tok_token_record token;
  struct tok_store *store;
  uint8_t master[TOK_KEY];
  uint64_t epoch;
  bool usable;
  struct change c = {.seen = &token, .who = TOK_USER};
  pthread_mutex_lock(&slot->auth->login);
  tok_auth_refresh(slot);
  CK_RV rv = tok_auth_so_master(slot, master, &usable, &epoch);
  if (rv == CKR_OK) rv = tok_auth_store(slot, CKR_USER_NOT_LOGGED_IN, &store);
  if (rv == CKR_OK) rv = tok_store_token(store, &token);
  if (rv == CKR_OK && token.epoch != epoch) rv = CKR_USER_NOT_LOGGED_IN;
  if (rv == CKR_OK && !tok_pin_length(&token, len)) rv = CKR_PIN_LEN_RANGE;
  c.first = rv == CKR_OK && !usable;
  if (c.first) rv = tok_key_random(master, sizeof master);
  if (rv == CKR_OK) rv = tok_pin_make(&c.pin, TOK_USER, token.serial, pin, len, token.so.cost, master);
  if (rv == CKR_OK) rv = tok_store_change_token(store, write_user_pin, &c);
  if (rv == CKR_OK && c.first) tok_auth_so_gets_master(slot, master);
  OPENSSL_cleanse(master, sizeof master);
  pthread_mutex_unlock(&slot->auth->login);
  return rv;
}

/* --- C_InitToken ------------------------------------------------------------------------------------------------ */

/* An empty SO PIN: the record holds random bytes instead of the master key, which the first C_InitPIN makes. */
static CK_RV make_so_pin(struct tok_pin_record *record, const char serial[16], const CK_BYTE *pin, CK_ULONG len,
                         unsigned cost)
{
  uint8_t master[TOK_KEY];
  CK_RV rv = tok_key_random(master, sizeof master);
  if (rv == CKR_OK) rv = tok_pin_make(record, TOK_SO, serial, pin, len, cost, master);
  record->usable_master = len > 0;
  OPENSSL_cleanse(master, sizeof master);
  return rv;
}

/* The label as it was given; what follows a NUL, which the standard forbids, is made blank. */
static void copy_label(char to[32], const CK_UTF8CHAR *label)
{
  size_t len = strnlen((const char *)label, 32);
  memset(to, ' ', 32);
  memcpy(to, label, len);
}

static CK_RV write_again(struct tok_token_record *token, bool *erase, void *context)
{
  struct change *c = context;
  if (stale(token, c)) return CKR_PIN_INCORRECT;
  memset(&token->user, 0, sizeof token->user);
  token->so = c->pin;
  token->epoch++;
  copy_label(token->label, c->label);
  *erase = true;
  return CKR_OK;
}

static CK_RV check_no_session(struct tok_slot *slot)
{
  pthread_mutex_lock(&slot->lock);
  bool open = slot->sessions > 0;
  pthread_mutex_unlock(&slot->lock);
  return open ? CKR_SESSION_EXISTS : CKR_OK;
}

static CK_RV make_again(struct tok_slot *slot, struct tok_store *store, const CK_BYTE *so_pin, CK_ULONG len,
                        const CK_UTF8CHAR *label)
{
  struct tok_token_record token;
  struct change c = {.seen = &token, .who = TOK_SO, .label = label};
  uint8_t old[TOK_KEY];
  CK_RV rv = tok_pin_try(store, TOK_SO, so_pin, len, &token, old);
  OPENSSL_cleanse(old, sizeof old);
  if (rv == CKR_OK) rv = make_so_pin(&c.pin, token.serial, so_pin, len, token.so.cost);
  if (rv == CKR_OK) rv = check_no_session(slot); /* trying the PIN took time */
  if (rv == CKR_OK) rv = tok_store_change_token(store, write_again, &c);
  if (rv == CKR_OK) tok_objects_forget(slot);
  return rv;
}

/* Makes a directory and those above it, for this user only. */
static CK_RV make_directory(const char *path)
{
  char *copy = tok_dup(path, strlen(path) + 1);
  if (copy == NULL) return CKR_HOST_MEMORY;
  bool good = true;
  for (char *slash = copy + 1; good && slash != NULL;) {
    slash = strchr(slash, '/');
    if (slash != NULL) *slash = '\0';
    good = mkdir(copy, 0700) == 0 || errno == EEXIST;
    if (slash != NULL) *slash++ = '/';
  }
  CK_RV rv = good ? CKR_OK : errno == ENOSPC ? CKR_DEVICE_MEMORY : CKR_DEVICE_ERROR;
  if (!good && (errno == EACCES || errno == EROFS || errno == EPERM)) rv = CKR_TOKEN_WRITE_PROTECTED;
  free(copy);
  return rv;
}

static CK_RV make_new(struct tok_slot *slot, const CK_BYTE *so_pin, CK_ULONG len, const CK_UTF8CHAR *label)
{
  const struct tok_config *config = tok_module->config;
  struct tok_token_record token = {
      .slot = slot->id,
      .epoch = 1,
      .pin_limit = config->pin_retries,
      .so_pin_limit = config->so_pin_retries,
      .min_pin = config->min_pin,
      .max_pin = TOK_MAX_PIN,
  };
  uint8_t random[sizeof token.serial / 2];
  char serial[sizeof token.serial + 1];
  /* C_InitToken has no code for a PIN of a wrong length but this. */
  if (len > 0 && !tok_pin_length(&token, len)) return CKR_PIN_INCORRECT;
  copy_label(token.label, label);
  CK_RV rv = tok_key_random(random, sizeof random);
  for (size_t i = 0; i < sizeof random; i++) snprintf(serial + 2 * i, 3, "%02x", random[i]);
  memcpy(token.serial, serial, sizeof token.serial);
  if (rv == CKR_OK) rv = make_so_pin(&token.so, token.serial, so_pin, len, config->kdf_cost);
  if (rv == CKR_OK) rv = make_directory(config->directory);
  if (rv != CKR_OK) return rv;

  size_t size = strlen(config->directory) + sizeof serial + sizeof "/.p11token";
  char *path = tok_alloc(size);
  if (path == NULL) return CKR_HOST_MEMORY;
  snprintf(path, size, "%s/%s.p11token", config->directory, serial);
  rv = tok_slot_make(slot, path, &token);
  free(path);
  return rv;
}

CK_RV tok_auth_new_token(struct tok_slot *slot, const CK_BYTE *so_pin, CK_ULONG len, const CK_UTF8CHAR *label)
{
  struct tok_store *store;
  pthread_mutex_lock(&slot->auth->login);
  CK_RV rv = check_no_session(slot);
  if (rv == CKR_OK) {
    rv = tok_auth_store(slot, CKR_OK, &store);
    if (rv == CKR_OK)
      rv = store != NULL ? make_again(slot, store, so_pin, len, label) : make_new(slot, so_pin, len, label);
  }
  pthread_mutex_unlock(&slot->auth->login);
  return rv;
}
