/* Waiting for a token to be removed or inserted. */
#ifndef TOK_EVENTS_H
#define TOK_EVENTS_H

#include "pkcs11.h"

/* Waits until there is an event (core/presence.h), or until C_Finalize: CKR_CRYPTOKI_NOT_INITIALIZED. */
CK_RV tok_event_wait(CK_SLOT_ID *slot);

/* For C_Finalize: wakes whoever waits, now and until tok_events_free, which is called when nobody is inside any more. */
void tok_events_end(void);
void tok_events_free(void);
void tok_events_after_fork_child(void); /* async-signal-safe */

#endif
