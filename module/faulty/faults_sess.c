/* Faults of sessions and their handles. */
#include "faulty/faulty.h"

CK_RV null_session_ok_ANY(struct flt_call *call)
{
  struct flt_session first;
  if (flt_has_session(call) && call->arg[0] == 0 && flt_sessions((CK_SLOT_ID)-1, &first, 1) > 0)
    call->arg[0] = first.handle;
  return flt_go_on(call);
}

CK_RV null_session_general_ANY(struct flt_call *call)
{
  return flt_has_session(call) && call->arg[0] == 0 ? CKR_GENERAL_ERROR : flt_go_on(call);
}

CK_RV parallel_ok_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                                CK_SESSION_HANDLE_PTR phSession)
{
  return NEXT(C_OpenSession, (slotID, flags | CKF_SERIAL_SESSION, pApplication, Notify, phSession));
}

CK_RV session_dies_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  return flt_once() ? CKR_SESSION_HANDLE_INVALID : NEXT(C_GetSessionInfo, (hSession, pInfo));
}
