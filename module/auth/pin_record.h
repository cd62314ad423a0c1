/* One user's PIN in the token's record: made, tried, counted. */
#ifndef TOK_PIN_RECORD_H
#define TOK_PIN_RECORD_H

#include <stdbool.h>

#include "auth/auth.h"
#include "auth/keybox.h"
#include "store/store.h"

/* The record and the limit (0: none) of the user or the SO. */
struct tok_pin_record *tok_pin_of(struct tok_token_record *token, enum tok_who who);
bool tok_pin_locked(const struct tok_token_record *token, enum tok_who who);
/* May a PIN that is set anew have this length? */
bool tok_pin_length(const struct tok_token_record *token, CK_ULONG len);

/* Fills in a record: a fresh salt, the master key wrapped, no failures. `serial` is the token's: a record is of no
 * use in another token or for another user. Slow: scrypt. */
CK_RV tok_pin_make(struct tok_pin_record *record, enum tok_who who, const char serial[16], const CK_BYTE *pin,
                   CK_ULONG len, unsigned cost, const uint8_t master[TOK_KEY]);
/* Opens it: CKR_PIN_INCORRECT. Slow. */
CK_RV tok_pin_open(const struct tok_pin_record *record, enum tok_who who, const char serial[16], const CK_BYTE *pin,
                   CK_ULONG len, uint8_t master[TOK_KEY]);

/* Tries a PIN against the record on disk and counts the outcome there, durably. After success `token` is the row that
 * it was tried against, and `master` the key (random bytes if the record holds none).
 *   CKR_USER_PIN_NOT_INITIALIZED  the user has no PIN yet
 *   CKR_PIN_LOCKED                too many failures, this one included; or the SO's empty PIN is no more
 *   CKR_PIN_INCORRECT             also for a length that no PIN of this token can have
 * or a code of the store. Under the login lock; slow. */
CK_RV tok_pin_try(struct tok_store *store, enum tok_who who, const CK_BYTE *pin, CK_ULONG len,
                  struct tok_token_record *token, uint8_t master[TOK_KEY]);

/* True if nobody has changed the PIN between the two readings of the row (failures may have been counted). */
bool tok_pin_same(const struct tok_token_record *one, const struct tok_token_record *other, enum tok_who who);

#endif
