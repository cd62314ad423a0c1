/* Slots and their mechanisms (PKCS #11 3.2, 5.5). */
#include <stdio.h>

#include "core/entry.h"
#include "core/slots.h"
#include "core/text.h"
#include "core/version.h"
#include "crypto/mech.h"

CK_RV tok_C_GetSlotList(struct tok_session *session, CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList,
                        CK_ULONG_PTR pulCount)
{
  (void)session;
  (void)tokenPresent; /* every slot has a token, if only a blank one */
  struct tok_slot **slots;
  /* The list changes only when its size is asked for (5.5, C_GetSlotList). */
  size_t count = tok_slots_list(pSlotList == NULL, &slots);
  CK_RV rv = CKR_OK;
  if (pSlotList != NULL) {
    if (*pulCount < count) rv = CKR_BUFFER_TOO_SMALL;
    for (size_t i = 0; i < count && rv == CKR_OK; i++) pSlotList[i] = slots[i]->id;
  }
  *pulCount = count;
  return rv;
}

CK_RV tok_C_GetSlotInfo(struct tok_session *session, CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  (void)session;
  char description[sizeof pInfo->slotDescription + 1];
  if (tok_slot_by_id(slotID) == NULL) return CKR_SLOT_ID_INVALID;
  snprintf(description, sizeof description, "p11token slot %lu", slotID);
  tok_pad(pInfo->slotDescription, sizeof pInfo->slotDescription, description);
  tok_pad(pInfo->manufacturerID, sizeof pInfo->manufacturerID, TOK_MANUFACTURER);
  pInfo->flags = CKF_TOKEN_PRESENT;
  pInfo->hardwareVersion = pInfo->firmwareVersion = (CK_VERSION){TOK_VERSION_MAJOR, TOK_VERSION_MINOR};
  return CKR_OK;
}

CK_RV tok_C_GetMechanismList(struct tok_session *session, CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList,
                             CK_ULONG_PTR pulCount)
{
  (void)session;
  if (tok_slot_by_id(slotID) == NULL) return CKR_SLOT_ID_INVALID;
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
  if (tok_slot_by_id(slotID) == NULL) return CKR_SLOT_ID_INVALID;
  const struct tok_mech *mech = tok_mech_find(type);
  if (mech == NULL) return CKR_MECHANISM_INVALID;
  *pInfo = (CK_MECHANISM_INFO){mech->min, mech->max, mech->flags};
  return CKR_OK;
}
