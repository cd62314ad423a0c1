/* Faults of return codes, crashes and hangs; those of a function of one's choice are in faults_generic.c. */
#include <signal.h>

#include "faulty/faulty.h"

CK_RV rv_odd_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                           CK_SESSION_HANDLE_PTR phSession)
{
  (void)slotID, (void)flags, (void)pApplication, (void)Notify, (void)phSession;
  return CKR_PIN_INCORRECT;
}

CK_RV rv_general_10pct_ANY(struct flt_call *call)
{
  const CK_ULONG every = flt_value(10);
  return flt_has_session(call) && every > 0 && flt_add(FLT_FAULT, 0, 1) % every == 0 ? CKR_GENERAL_ERROR
                                                                                     : flt_go_on(call);
}

CK_RV hang_getslotinfo_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  flt_sleep(flt_value(60000));
  return NEXT(C_GetSlotInfo, (slotID, pInfo));
}

CK_RV crash_on_null_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                        CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  for (CK_ULONG i = 0; pTemplate != NULL && i < ulCount; i++)
    if (pTemplate[i].pValue == NULL) raise(SIGSEGV);
  return NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}
