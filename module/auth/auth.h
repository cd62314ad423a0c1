/* Who is logged in at a slot, PINs, and the keys that come from them.
 *
 * A token has a random master key. It lies in the token file encrypted (AES-256-GCM) under a key that scrypt makes of the
 * user's PIN, and once more under one of the SO's PIN. A login opens it; subkeys of it (HKDF) seal and tag objects; a logout
 * wipes it. So a changed PIN touches no object, and other processes that are logged in stay so. */
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
void tok_auth_free(struct tok_auth *auth);            /* wipes */

/* Who is logged in: an atomic read. */
enum tok_who tok_auth_who(struct tok_slot *slot);
/* Goes up with every login and logout; operations on private keys and handles of private objects are bound to it. */
uint64_t tok_auth_generation(struct tok_slot *slot);
/* The token's epoch (store/store.h) at login, or when the slot last read its token if nobody is logged in. */
uint64_t tok_auth_epoch(struct tok_slot *slot);

/* PKCS #11 3.2, C_Login, C_Logout; all of their checks and codes but the context-specific user (tok_auth_verify). */
CK_RV tok_auth_login(struct tok_slot *slot, CK_USER_TYPE user, const CK_BYTE *pin, CK_ULONG len);
CK_RV tok_auth_logout(struct tok_slot *slot);
/* The last session was closed: logs out, never fails. */
void tok_auth_sessions_closed(struct tok_slot *slot);
/* Is it the PIN of the user who is logged in? Counts failures as C_Login does; PIN_LOCKED logs the user out. For
 * CKU_CONTEXT_SPECIFIC. */
CK_RV tok_auth_verify(struct tok_slot *slot, const CK_BYTE *pin, CK_ULONG len);

/* PINs. `cost` 0: as the token has it, or as configured for a new one. */
CK_RV tok_auth_init_pin(struct tok_slot *slot, const CK_BYTE *pin, CK_ULONG len);  /* by the SO, logged in */
CK_RV tok_auth_set_pin(struct tok_slot *slot, const CK_BYTE *old_pin, CK_ULONG old_len, const CK_BYTE *new_pin,
                       CK_ULONG new_len);
/* A token record for a new token, or one to be initialised again (its serial and slot stay; the SO's PIN must be right). */
CK_RV tok_auth_new_token(struct tok_slot *slot, const CK_BYTE *so_pin, CK_ULONG len, const CK_UTF8CHAR *label);
/* CKF_LOGIN_REQUIRED, CKF_USER_PIN_* and CKF_SO_PIN_* of CK_TOKEN_INFO from a record. */
CK_FLAGS tok_auth_flags(const struct tok_token_record *token);

/* Encrypts and authenticates under the token's key; `bound` is authenticated with it (an object's uuid). *out is the
 * caller's (free). CKR_USER_NOT_LOGGED_IN without a user; opening what was changed is CKR_DEVICE_ERROR. */
CK_RV tok_seal(struct tok_slot *slot, const uint8_t *bound, size_t bound_len, const uint8_t *in, size_t len,
               uint8_t **out, size_t *out_len);
CK_RV tok_unseal(struct tok_slot *slot, const uint8_t *bound, size_t bound_len, const uint8_t *in, size_t len,
                 uint8_t **out, size_t *out_len); /* *out: tok_wipe_free */
/* 16 bytes by which a value of a private object is found again and nobody without the key can guess it (HMAC-SHA-256). */
CK_RV tok_private_tag(struct tok_slot *slot, const uint8_t *value, size_t len, uint8_t tag[16]);

/* In a forked child: wipes the keys of every slot. Async-signal-safe. */
void tok_auth_after_fork_child(void);

#endif
