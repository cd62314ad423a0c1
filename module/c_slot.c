/* Slots and their mechanisms (PKCS #11 3.2, 5.5). */
#include <stdio.h>

#include "core/entry.h"
#include "core/events.h"
#include "core/presence.h"
#include "core/text.h"
#include "core/version.h"
#include "crypto/mech.h"

CK_RV tok_C_GetSlotList(struct tok_session *session, CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList,
                        CK_ULONG_PTR pulCount)
{
  (void)session;
  struct tok_slot **slots;
  /* The list changes only when its size is asked for (5.5, C_GetSlotList). */
  size_t all = tok_slots_list(pSlotList == NULL, &slots);
  CK_ULONG room = *pulCount, count = 0;
  for (size_t i = 0; i < all; i++) {
    /* A slot has a token, if only a blank one, unless that was removed. */
    if (tokenPresent && tok_slot_present(slots[i]) != CKR_OK) continue;
    if (pSlotList != NULL && count < room) pSlotList[count] = slots[i]->id;
    count++;
  }
  *pulCount = count;
  return pSlotList != NULL && room < count ? CKR_BUFFER_TOO_SMALL : CKR_OK;
}

CK_RV tok_C_GetSlotInfo(struct tok_session *session, CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  (void)session;
  char description[sizeof pInfo->slotDescription + 1];
  struct tok_slot *slot = tok_slot_by_id(slotID);
  if (slot == NULL) return CKR_SLOT_ID_INVALID;
  snprintf(description, sizeof description, "p11token slot %lu", slotID);
  tok_pad(pInfo->slotDescription, sizeof pInfo->slotDescription, description);
  tok_pad(pInfo->manufacturerID, sizeof pInfo->manufacturerID, TOK_MANUFACTURER);
  pInfo->flags = tok_slot_present(slot) == CKR_OK ? CKF_TOKEN_PRESENT : 0;
  if (slot->removable) pInfo->flags |= CKF_REMOVABLE_DEVICE;
  pInfo->hardwareVersion = pInfo->firmwareVersion = (CK_VERSION){TOK_VERSION_MAJOR, TOK_VERSION_MINOR};
  return CKR_OK;
}

CK_RV tok_C_GetMechanismList(struct tok_session *session, CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList,
                             CK_ULONG_PTR pulCount)
{
  (void)session;
  struct tok_slot *slot = tok_slot_by_id(slotID);
  if (slot == NULL) return CKR_SLOT_ID_INVALID;
  if (tok_slot_present(slot) != CKR_OK) return CKR_TOKEN_NOT_PRESENT;
  size_t count = tok_mech_list(NULL);
  CK_RV rv = CKR_OK;
  if (pMechanismList != NULL) {
    if (*pulCount < count)
      rv = CKR_BUFFER_TOO_SMALL;
    else
      tok_mech_list(pMechanismList);
  }
  *pulCount = count;
  return rv;
}

CK_RV tok_C_GetMechanismInfo(struct tok_session *session, CK_SLOT_ID slotID, CK_MECHANISM_TYPE type,
                             CK_MECHANISM_INFO_PTR pInfo)
{
  (void)session;
  struct tok_slot *slot = tok_slot_by_id(slotID);
  if (slot == NULL) return CKR_SLOT_ID_INVALID;
  if (tok_slot_present(slot) != CKR_OK) return CKR_TOKEN_NOT_PRESENT;
  const struct tok_mech *mech = tok_mech_find(type);
  if (mech == NULL) return CKR_MECHANISM_INVALID;
  *pInfo = (CK_MECHANISM_INFO){mech->min, mech->max, mech->flags};
  return CKR_OK;
}

CK_RV tok_C_WaitForSlotEvent(struct tok_session *session, CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
  (void)session;
  if (pReserved != NULL) return CKR_ARGUMENTS_BAD;
  if ((flags & CKF_DONT_BLOCK) == 0) return tok_event_wait(pSlot);
  return tok_slot_event(pSlot) ? CKR_OK : CKR_NO_EVENT;
}
