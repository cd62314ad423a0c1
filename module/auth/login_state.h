/* What one slot knows of who is logged in. For the files of auth/. */
#ifndef TOK_LOGIN_STATE_H
#define TOK_LOGIN_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/auth.h"
#include "auth/keypage.h"
#include "core/slots.h"
#include "store/store.h"

struct tok_auth {
  /* One login, logout or change of a PIN at a time: the only lock that scrypt runs under. */
  pthread_mutex_t login;
  /* Guards what follows, for moments; the last lock that anyone takes. `who` is changed under the slot's lock too,
   * so that no R/O session opens while the SO's login is looking for one. */
  pthread_mutex_t state;
  _Atomic(enum tok_who) who;
  _Atomic uint64_t generation;
  uint64_t epoch;        /* of the token at login */
  bool master;           /* keys->master is the token's (else an empty SO PIN was given) */
  struct tok_keys *keys; /* of `who` */
  atomic_bool unswept;   /* the login became void, but what it left behind has not been ended yet */
  /* The token's row as last read, and the store's change number before that. */
  bool known;
  uint64_t number;
  struct tok_token_record token;
};

/* The store, or why there is none: slot->broken, or `blank` for a blank token. */
CK_RV tok_auth_store(struct tok_slot *slot, CK_RV blank, struct tok_store **store);
/* Logs out whoever is logged in, and ends what was left of an earlier login. The login lock is held. */
void tok_auth_drop(struct tok_slot *slot);
/* Notices that the token was initialised anew, as tok_auth_token does. The login lock is held. */
void tok_auth_refresh(struct tok_slot *slot);
/* The master key of the SO who is logged in: CKR_USER_NOT_LOGGED_IN; *usable tells if there is one. */
CK_RV tok_auth_so_master(struct tok_slot *slot, uint8_t master[TOK_KEY], bool *usable, uint64_t *epoch);
/* Gives the SO who is logged in the master key that was just made. */
void tok_auth_so_gets_master(struct tok_slot *slot, const uint8_t master[TOK_KEY]);

#endif
