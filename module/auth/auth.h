/* Who is logged in at a slot, PINs, and the keys that come from them.
 *
 * A token has a random master key. It lies in the token file encrypted (AES-256-GCM) under a key that scrypt makes
 * of the user's PIN, and once more under one of the SO's PIN. A login opens it; subkeys of it (HKDF) seal and tag
 * objects; a logout wipes it. So a changed PIN touches no object, and other processes that are logged in stay so.
 *
 * A token made with an empty SO PIN is as from the factory: the SO's record holds no master key, the first C_InitPIN
 * makes one, and from then on there is no SO PIN (NSS sets a first PIN so: pk11auth.c, PK11_InitPin). */
#ifndef TOK_AUTH_H
#define TOK_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

struct tok_slot;
struct tok_auth;
struct tok_token_record;

enum tok_who { TOK_NOBODY, TOK_USER, TOK_SO };

struct tok_auth *tok_auth_new(struct tok_slot *slot); /* NULL: no memory */
void tok_auth_free(struct tok_auth *auth);            /* wipes; NULL is allowed */

/* Who is logged in: an atomic read. */
enum tok_who tok_auth_who(struct tok_slot *slot);
/* Goes up with every login and logout; operations on private keys and handles of private objects are bound to it. */
uint64_t tok_auth_generation(struct tok_slot *slot);
/* The token's epoch (store/store.h) at login, or as it is now if nobody is logged in. To be asked for before
 * tok_seal, so that nothing is stored under an epoch whose key did not seal it. */
uint64_t tok_auth_epoch(struct tok_slot *slot);
/* The token's row as it is now, by whatever process changed it: a few microseconds if it did not change. Notices
 * when the token was initialised anew by another process: whoever was logged in is no longer (also to be called by
 * whoever is told CKR_DEVICE_REMOVED by the store). CKR_TOKEN_NOT_RECOGNIZED for a blank token, slot->broken for a
 * damaged one. */
CK_RV tok_auth_token(struct tok_slot *slot, struct tok_token_record *token);

/* PKCS #11 3.2, C_Login, C_Logout; all of their checks and codes but the context-specific user (tok_auth_verify). A
 * logout, of whatever cause, ends operations with private keys and calls tok_objects_logged_out. No session may be
 * locked. */
CK_RV tok_auth_login(struct tok_slot *slot, CK_USER_TYPE user, const CK_BYTE *pin, CK_ULONG len);
CK_RV tok_auth_logout(struct tok_slot *slot);
/* The last session was closed: logs out, never fails. */
void tok_auth_sessions_closed(struct tok_slot *slot);
/* The token was removed: whoever was logged in is no longer. Does not wait for a login, which then fails. */
void tok_auth_removed(struct tok_slot *slot);
/* Is it the PIN of the user who is logged in? Counts failures as C_Login does; PIN_LOCKED logs the user out. For
 * CKU_CONTEXT_SPECIFIC. CKR_OPERATION_NOT_INITIALIZED without a user: the operation went with the login. */
CK_RV tok_auth_verify(struct tok_slot *slot, const CK_BYTE *pin, CK_ULONG len);

/* PINs. A PIN of the length 0 is never counted as a failure: programs try it to see whether there is a PIN. */
CK_RV tok_auth_init_pin(struct tok_slot *slot, const CK_BYTE *pin, CK_ULONG len); /* by the SO, logged in */
CK_RV tok_auth_set_pin(struct tok_slot *slot, const CK_BYTE *old_pin, CK_ULONG old_len, const CK_BYTE *new_pin,
                       CK_ULONG new_len);
/* A token for a blank slot, with the settings of the configuration, or the slot's token initialised again (its
 * serial, slot, settings and costs stay; the SO's PIN must be right). CKR_SESSION_EXISTS while this process has a
 * session. `label` has 32 characters, blank padded. */
CK_RV tok_auth_new_token(struct tok_slot *slot, const CK_BYTE *so_pin, CK_ULONG len, const CK_UTF8CHAR *label);
/* CKF_LOGIN_REQUIRED, CKF_USER_PIN_* and CKF_SO_PIN_* of CK_TOKEN_INFO from a record. */
CK_FLAGS tok_auth_flags(const struct tok_token_record *token);
#define TOK_MAX_PIN 255 /* bytes, of new tokens */

/* Encrypts and authenticates under the token's key; `bound` is authenticated with it (an object's uuid). *out is the
 * caller's (free). CKR_USER_NOT_LOGGED_IN without a user; opening what was changed is CKR_DEVICE_ERROR, or
 * CKR_DEVICE_REMOVED if the token was initialised anew since the login. */
CK_RV tok_seal(struct tok_slot *slot, const uint8_t *bound, size_t bound_len, const uint8_t *in, size_t len,
               uint8_t **out, size_t *out_len);
CK_RV tok_unseal(struct tok_slot *slot, const uint8_t *bound, size_t bound_len, const uint8_t *in, size_t len,
                 uint8_t **out, size_t *out_len); /* *out: tok_wipe_free */
/* 16 bytes by which a value of a private object is found again and nobody without the key can guess it
 * (HMAC-SHA-256). */
CK_RV tok_private_tag(struct tok_slot *slot, const uint8_t *value, size_t len, uint8_t tag[16]);

/* In a forked child: wipes the keys of every slot. Async-signal-safe. */
void tok_auth_after_fork_child(void);

#endif
