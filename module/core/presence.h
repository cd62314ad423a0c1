/* Is the token in its slot, and what its removal ends (PKCS #11 3.2, 5.1.3 and 5.6: all sessions, the login, the objects of
 * sessions). What a session, a login or a list of sessions belongs to is the value of the counter at its time: an insertion
 * never revives what a removal has ended. */
#ifndef TOK_PRESENCE_H
#define TOK_PRESENCE_H

#include "core/card.h"
#include "core/sessions.h"
#include "core/slots.h"

/* The counter as it is at this moment. */
static inline uint32_t tok_slot_changes(const struct tok_slot *slot)
{
  return atomic_load_explicit(atomic_load_explicit(&slot->changes, memory_order_relaxed), memory_order_acquire);
}

/* Was the token of a session, which is open and locked, removed since? */
static inline bool tok_session_lost(const struct tok_session *session)
{
  return __builtin_expect(tok_slot_changes(session->slot) != session->born, 0);
}

/* CKR_OK, or CKR_TOKEN_NOT_PRESENT. If the token was removed or inserted since the last look, what was there before has been
 * ended when it returns: sessions that are in a call end with that call. No session may be locked. */
CK_RV tok_slot_present(struct tok_slot *slot);

/* The slot of which C_WaitForSlotEvent has to tell, and which is told now; false if nothing has happened. */
bool tok_slot_event(CK_SLOT_ID *slot);

#endif
