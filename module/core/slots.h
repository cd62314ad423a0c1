/* Slots: one for each token file of the token directory, and a spare one with a blank token if the configuration says so.
 *
 * Slots are found when C_GetSlotList asks for their number and never go away or change their number before C_Finalize
 * (NSS cannot bear either: rule NSS-SLOT-02), so a `struct tok_slot *` stays valid until then. */
#ifndef TOK_SLOTS_H
#define TOK_SLOTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/card.h"
#include "pkcs11.h"

struct tok_module;
struct tok_store;
struct tok_auth;
struct tok_objects;
struct tok_token_record;

struct tok_slot {
  CK_SLOT_ID id;
  /* Guards the sessions' counters below; held for moments only, never while computing or writing to disk.
   * Order of locks: session, auth's login lock, slot, objects. */
  pthread_mutex_t lock;
  char *path;                        /* the token file; NULL: blank token, not yet made by C_InitToken */
  _Atomic(struct tok_store *) store; /* store/store.h; NULL: blank, or the file is damaged (then `broken` says how) */
  _Atomic(CK_RV) broken;             /* CKR_OK, or what opening the store said: the slot is there, the token unusable */
  struct tok_auth *auth;             /* auth/auth.h: login state and keys */
  struct tok_objects *objects;       /* object/objects.h: session objects, cache of token objects */
  unsigned sessions, rw_sessions;    /* open ones */
  /* Removals and insertions (core/card.h, core/presence.h). */
  bool removable;                    /* CKF_REMOVABLE_DEVICE; never changes */
  _Atomic(const tok_card *) changes; /* the counter; &tok_card_fixed: cannot be removed */
  _Atomic uint32_t insertion;        /* its value that sessions and login of this slot belong to */
  _Atomic uint32_t told;             /* its value when C_WaitForSlotEvent last told of this slot */
  pthread_mutex_t clearing; /* held while what a removal ends is ended; comes before all other locks, and who has
                                       * it waits neither for a session nor for a login */
};

/* The slots known so far; `fresh` looks into the token directory for new token files first. The array is sorted by id and
 * belongs to the module; it is replaced, not changed, when slots come. Returns the number. */
size_t tok_slots_list(bool fresh, struct tok_slot ***slots);
/* The slot of that id, or NULL. */
struct tok_slot *tok_slot_by_id(CK_SLOT_ID id);
/* May the token be written, as the system has it at this moment? SQLite needs the file and its folder (for the log). A blank
 * token may. */
bool tok_slot_writable(struct tok_slot *slot);
/* Called by C_InitToken on a blank slot: makes the token file and opens it. Nobody looks for new files meanwhile. */
CK_RV tok_slot_make(struct tok_slot *slot, const char *path, const struct tok_token_record *token);

CK_RV tok_slots_new(struct tok_module *module);
void tok_slots_free(struct tok_module *module);

/* Runs `visit` for every open session of the slot whose lock can be had at once (the others are in a call; they see the
 * new login generation when they come back). The session is locked during the visit. */
struct tok_session;
void tok_slot_visit_sessions(struct tok_slot *slot, void (*visit)(struct tok_session *session, void *context),
                             void *context);

#endif
