/* PINs in the token's record. */
#include "auth/pin_record.h"

#include <openssl/crypto.h>
#include <string.h>

_Static_assert(TOK_SALT == TOK_PIN_SALT && TOK_MAX_PIN <= UINT8_MAX, "what tok_key_from_pin takes");
_Static_assert(TOK_WRAPPED == TOK_KEY + TOK_BOX_MORE, "a wrapped key is a box with a key in it");

struct tok_pin_record *tok_pin_of(struct tok_token_record *token, enum tok_who who)
{
  return who == TOK_SO ? &token->so : &token->user;
}

static uint32_t limit_of(const struct tok_token_record *token, enum tok_who who)
{
  return who == TOK_SO ? token->so_pin_limit : token->pin_limit;
}

bool tok_pin_locked(const struct tok_token_record *token, enum tok_who who)
{
  const struct tok_pin_record *record = who == TOK_SO ? &token->so : &token->user;
  uint32_t limit = limit_of(token, who);
  if (!record->set) return who == TOK_SO; /* the empty SO PIN of a token whose user has a PIN */
  return limit > 0 && record->failed >= limit;
}

bool tok_pin_length(const struct tok_token_record *token, CK_ULONG len)
{
  return len >= token->min_pin && len <= token->max_pin;
}

/* What the wrapped key is bound to. */
#define BINDING 36
static void binding(enum tok_who who, const char serial[16], uint8_t to[BINDING])
{
  memcpy(to, who == TOK_SO ? "p11token PIN of SO  " : "p11token PIN of user", 20);
  memcpy(to + 20, serial, 16);
}

CK_RV tok_pin_make(struct tok_pin_record *record, enum tok_who who, const char serial[16], const CK_BYTE *pin,
                   CK_ULONG len, unsigned cost, const uint8_t master[TOK_KEY])
{
  uint8_t kek[TOK_KEY], bound[BINDING];
  binding(who, serial, bound);
  memset(record, 0, sizeof *record);
  CK_RV rv = tok_key_random(record->salt, sizeof record->salt);
  if (rv == CKR_OK) rv = tok_key_from_pin(pin, len, record->salt, cost, kek);
  if (rv == CKR_OK) rv = tok_box_seal(kek, bound, sizeof bound, master, TOK_KEY, record->wrapped);
  OPENSSL_cleanse(kek, sizeof kek);
  record->set = rv == CKR_OK;
  record->usable_master = true;
  record->cost = (uint8_t)cost;
  return rv;
}

CK_RV tok_pin_open(const struct tok_pin_record *record, enum tok_who who, const char serial[16], const CK_BYTE *pin,
                   CK_ULONG len, uint8_t master[TOK_KEY])
{
  uint8_t kek[TOK_KEY], bound[BINDING];
  binding(who, serial, bound);
  CK_RV rv = tok_key_from_pin(pin, len, record->salt, record->cost, kek);
  if (rv == CKR_OK) rv = tok_box_open(kek, bound, sizeof bound, record->wrapped, sizeof record->wrapped, master);
  OPENSSL_cleanse(kek, sizeof kek);
  return rv;
}

bool tok_pin_same(const struct tok_token_record *one, const struct tok_token_record *other, enum tok_who who)
{
  const struct tok_pin_record *a = who == TOK_SO ? &one->so : &one->user;
  const struct tok_pin_record *b = who == TOK_SO ? &other->so : &other->user;
  return one->epoch == other->epoch && a->set == b->set && CRYPTO_memcmp(a->salt, b->salt, sizeof a->salt) == 0 &&
         CRYPTO_memcmp(a->wrapped, b->wrapped, sizeof a->wrapped) == 0;
}

/* --- trying ----------------------------------------------------------------------------------------------------- */

struct outcome {
  const struct tok_token_record *tried; /* the row that the PIN was tried against */
  enum tok_who who;
  bool right;
  bool stale;  /* the PIN was changed meanwhile: nothing was counted */
  bool locked; /* too many failures now */
};

/* Counts an outcome in the row as it is now: other processes may have counted in between. */
static CK_RV count(struct tok_token_record *token, bool *erase, void *context)
{
  (void)erase;
  struct outcome *o = context;
  struct tok_pin_record *record = tok_pin_of(token, o->who);
  o->stale = !tok_pin_same(token, o->tried, o->who);
  if (o->stale) return CKR_FUNCTION_CANCELED;
  o->locked = tok_pin_locked(token, o->who);
  if (o->locked) return CKR_PIN_LOCKED; /* by failures elsewhere while this PIN was tried */
  if (o->right) {
    record->failed = 0;
  } else if (record->failed < UINT32_MAX) {
    record->failed++;
    o->locked = tok_pin_locked(token, o->who);
  }
  return CKR_OK;
}

/* CKR_FUNCTION_CANCELED: to be tried again, against the new PIN. */
static CK_RV record_outcome(struct tok_store *store, struct outcome *o)
{
  CK_RV rv = tok_store_change_token(store, count, o);
  if (o->stale || o->locked) return o->stale ? CKR_FUNCTION_CANCELED : CKR_PIN_LOCKED;
  /* A right PIN opens the token even if its counter cannot be set back (a full disk, a file that may not be written). A
   * failure that cannot be counted is an error, so that nobody can go on guessing; where nothing can be written at all,
   * there is nothing to protect but what can be copied and guessed at elsewhere. */
  if (o->right) return CKR_OK;
  return rv == CKR_OK || rv == CKR_TOKEN_WRITE_PROTECTED ? CKR_PIN_INCORRECT : rv;
}

static CK_RV try_once(struct tok_store *store, enum tok_who who, const CK_BYTE *pin, CK_ULONG len,
                      struct tok_token_record *token, uint8_t master[TOK_KEY])
{
  CK_RV rv = tok_store_token(store, token);
  if (rv != CKR_OK) return rv;
  const struct tok_pin_record *record = tok_pin_of(token, who);
  if (!record->set && who == TOK_USER) return CKR_USER_PIN_NOT_INITIALIZED;
  if (tok_pin_locked(token, who)) return CKR_PIN_LOCKED;
  bool possible = tok_pin_length(token, len) || (len == 0 && who == TOK_SO && !record->usable_master);
  rv = possible ? tok_pin_open(record, who, token->serial, pin, len, master) : CKR_PIN_INCORRECT;
  if (rv != CKR_OK && rv != CKR_PIN_INCORRECT) return rv;
  if (rv == CKR_OK ? record->failed == 0 : len == 0) return rv; /* nothing to write down */
  struct outcome o = {.tried = token, .who = who, .right = rv == CKR_OK};
  return record_outcome(store, &o);
}

CK_RV tok_pin_try(struct tok_store *store, enum tok_who who, const CK_BYTE *pin, CK_ULONG len,
                  struct tok_token_record *token, uint8_t master[TOK_KEY])
{
  CK_RV rv = CKR_FUNCTION_CANCELED;
  for (int tries = 0; rv == CKR_FUNCTION_CANCELED && tries < 8; tries++)
    rv = try_once(store, who, pin, len, token, master);
  if (rv != CKR_OK) OPENSSL_cleanse(master, TOK_KEY);
  return rv == CKR_FUNCTION_CANCELED ? CKR_FUNCTION_FAILED : rv;
}

/* --- flags ------------------------------------------------------------------------------------------------------ */

/* CK_TOKEN_INFO's flags, PKCS #11 3.2, 3.2: a PIN that is locked is beyond its final try. */
CK_FLAGS tok_auth_flags(const struct tok_token_record *token)
{
  static const struct {
    enum tok_who who;
    CK_FLAGS low, final, locked;
  } flags[] = {
      {TOK_USER, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED},
      {TOK_SO,   CKF_SO_PIN_COUNT_LOW,   CKF_SO_PIN_FINAL_TRY,   CKF_SO_PIN_LOCKED  },
  };
  CK_FLAGS out = CKF_LOGIN_REQUIRED | (token->user.set ? CKF_USER_PIN_INITIALIZED : 0);
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    const struct tok_pin_record *record = flags[i].who == TOK_SO ? &token->so : &token->user;
    uint32_t limit = limit_of(token, flags[i].who);
    if (record->set && record->failed > 0) out |= flags[i].low;
    if (tok_pin_locked(token, flags[i].who))
      out |= flags[i].locked;
    else if (record->set && limit > 0 && record->failed + 1 == limit)
      out |= flags[i].final;
  }
  return out;
}
