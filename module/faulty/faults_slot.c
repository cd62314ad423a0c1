/* Faults of slots: their list, presence and events. */
#include "faulty/faulty.h"

CK_RV slot_grow_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_ULONG room = pSlotList != NULL && pulCount != NULL ? *pulCount : 0;
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv != CKR_OK || pSlotList == NULL) return rv;
  *pulCount = room + 1;
  return CKR_BUFFER_TOO_SMALL;
}

CK_RV slot_overflow_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_ULONG room = pSlotList != NULL && pulCount != NULL ? *pulCount : 0;
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv == CKR_OK && pSlotList != NULL) *pulCount = room + 1;
  return rv;
}

CK_RV slot_twice_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv == CKR_OK && pSlotList != NULL && *pulCount > 1) pSlotList[1] = pSlotList[0];
  return rv;
}

CK_RV slot_general_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  return rv == CKR_OK && pSlotList != NULL ? CKR_GENERAL_ERROR : rv;
}

/* --- NSS-SLOT-02: slots that do not stay -------------------------------------------------------------------------- */

static bool has_slot(const struct flt_call *call)
{
  return p11_functions[call->function].param[0].kind == P11_K_SLOT;
}

CK_RV slot_shrink_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  CK_SLOT_ID slots[64];
  CK_ULONG count = sizeof slots / sizeof slots[0], left = 0;
  const CK_ULONG lost = flt_get(FLT_FAULT, 0); /* plus one, for slot 0 */
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, slots, &count));
  if (rv != CKR_OK || pulCount == NULL) return rv;
  if (lost == 0 && pSlotList != NULL && !tokenPresent && count > 0) flt_set(FLT_FAULT, 0, slots[count - 1] + 1);
  for (CK_ULONG i = 0; i < count; i++)
    if (slots[i] + 1 != lost) slots[left++] = slots[i];
  const CK_ULONG room = *pulCount;
  *pulCount = left;
  if (pSlotList == NULL) return CKR_OK;
  if (room < left) return CKR_BUFFER_TOO_SMALL;
  memcpy(pSlotList, slots, left * sizeof slots[0]);
  return CKR_OK;
}

CK_RV slot_shrink_ANY(struct flt_call *call)
{
  return has_slot(call) && call->arg[0] + 1 == flt_get(FLT_FAULT, 0) && flt_get(FLT_FAULT, 0) != 0 ? CKR_SLOT_ID_INVALID
                                                                                                   : flt_go_on(call);
}

/* Further than any number of a slot that is there already. */
static const CK_SLOT_ID RENUMBERED_BY = 1UL << 40;

CK_RV slot_renumber_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv != CKR_OK || pSlotList == NULL || (!tokenPresent && flt_once())) return rv;
  if (flt_get(FLT_FAULT, 0) == 0 && tokenPresent) return rv;
  flt_set(FLT_FAULT, 0, 1);
  for (CK_ULONG i = 0; i < *pulCount; i++) pSlotList[i] += RENUMBERED_BY;
  return rv;
}

CK_RV slot_renumber_ANY(struct flt_call *call)
{
  if (!has_slot(call) || flt_get(FLT_FAULT, 0) == 0) return flt_go_on(call);
  if (call->arg[0] < RENUMBERED_BY) return CKR_SLOT_ID_INVALID;
  call->arg[0] -= RENUMBERED_BY;
  return flt_go_on(call);
}

/* --- presence ----------------------------------------------------------------------------------------------------- */

CK_RV ghost_token_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                                CK_SESSION_HANDLE_PTR phSession)
{
  (void)slotID, (void)flags, (void)pApplication, (void)Notify, (void)phSession;
  return CKR_TOKEN_NOT_PRESENT;
}

static void set_flag(CK_FLAGS *flags, CK_FLAGS flag, bool on)
{
  *flags = on ? *flags | flag : *flags & ~flag;
}

CK_RV perm_absent_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  CK_SLOT_ID slots[64];
  CK_ULONG count = sizeof slots / sizeof slots[0];
  const CK_RV rv = NEXT(C_GetSlotInfo, (slotID, pInfo));
  if (rv != CKR_OK) return rv;
  set_flag(&pInfo->flags, CKF_REMOVABLE_DEVICE, false);
  if (TARGET(C_GetSlotList, (CK_FALSE, slots, &count)) == CKR_OK && count > 1 && slots[count - 1] == slotID)
    set_flag(&pInfo->flags, CKF_TOKEN_PRESENT, false);
  return rv;
}

CK_RV removable_flips_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSlotInfo, (slotID, pInfo));
  if (rv == CKR_OK) set_flag(&pInfo->flags, CKF_REMOVABLE_DEVICE, flt_add(FLT_SLOT, slotID, 1) % 2 == 0);
  return rv;
}

CK_RV flaky_session_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  return flt_add(FLT_FAULT, 0, 1) % 2 == 0 ? CKR_SESSION_HANDLE_INVALID : NEXT(C_GetSessionInfo, (hSession, pInfo));
}

/* --- events ------------------------------------------------------------------------------------------------------- */

CK_RV wait_noevent_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
  return flags & CKF_DONT_BLOCK ? NEXT(C_WaitForSlotEvent, (flags, pSlot, pReserved)) : CKR_NO_EVENT;
}

CK_RV wait_stuck_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
  if (flags & CKF_DONT_BLOCK) return NEXT(C_WaitForSlotEvent, (flags, pSlot, pReserved));
  while (flt_sleep(1000)) continue;
  do {
    flt_sleep(flt_value(1000));
  } while (flt_value(0) == 0);
  return CKR_CRYPTOKI_NOT_INITIALIZED;
}
