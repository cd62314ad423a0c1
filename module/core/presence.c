/* What a removal ends, and which removals and insertions were told. */
#include "core/presence.h"

#include "auth/auth.h"
#include "core/sessions.h"

/* Ends what belongs to an earlier state of the slot. New sessions wait for it (c_session.c), so no login of theirs is taken
 * for one of the old ones. */
static uint32_t clear_away(struct tok_slot *slot)
{
  pthread_mutex_lock(&slot->clearing);
  uint32_t changes = tok_slot_changes(slot);
  if (changes != atomic_load(&slot->insertion)) {
    tok_session_close_lost(slot);
    tok_auth_removed(slot);
    atomic_store(&slot->insertion, changes);
  }
  pthread_mutex_unlock(&slot->clearing);
  return changes;
}

CK_RV tok_slot_present(struct tok_slot *slot)
{
  uint32_t changes = tok_slot_changes(slot);
  if (changes != atomic_load(&slot->insertion)) changes = clear_away(slot);
  return tok_card_is_out(changes) ? CKR_TOKEN_NOT_PRESENT : CKR_OK;
}

/* 5.5, C_WaitForSlotEvent: a slot has one flag per application; a card that is removed and inserted before anybody asks is
 * one event. */
bool tok_slot_event(CK_SLOT_ID *id)
{
  struct tok_slot **slots;
  size_t count = tok_slots_list(false, &slots);
  for (size_t i = 0; i < count; i++) {
    uint32_t changes = tok_slot_changes(slots[i]);
    /* Of two threads that ask, one is told. */
    if (atomic_exchange(&slots[i]->told, changes) == changes) continue;
    tok_slot_present(slots[i]);
    *id = slots[i]->id;
    return true;
  }
  return false;
}
