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

CK_RV no_rw_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                          CK_SESSION_HANDLE_PTR phSession)
{
  struct flt_session of_slot[64];
  const size_t n = flt_sessions(slotID, of_slot, 64);
  bool read_only = false;
  for (size_t i = 0; i < n && i < 64; i++) read_only |= !(of_slot[i].flags & CKF_RW_SESSION);
  return read_only && flags & CKF_RW_SESSION ? CKR_SESSION_COUNT
                                             : NEXT(C_OpenSession, (slotID, flags, pApplication, Notify, phSession));
}

CK_RV notify_bad_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                               CK_SESSION_HANDLE_PTR phSession)
{
  return Notify != NULL ? CKR_ARGUMENTS_BAD : NEXT(C_OpenSession, (slotID, flags, pApplication, Notify, phSession));
}

/* --- NSS-SESS-02: numbers used again ------------------------------------------------------------------------------ */

CK_RV handle_recycle_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                                   CK_SESSION_HANDLE_PTR phSession)
{
  const CK_RV rv = NEXT(C_OpenSession, (slotID, flags, pApplication, Notify, phSession));
  if (rv != CKR_OK) return rv;
  CK_ULONG number = 1;
  while (!flt_claim(FLT_FAULT, number, *phSession)) number++;
  *phSession = number;
  return rv;
}

/* Numbers that no session has any more are free. */
static void free_numbers(void)
{
  struct flt_session session;
  for (CK_ULONG number = 1; number <= 4096; number++) {
    const CK_ULONG handle = flt_get(FLT_FAULT, number);
    if (handle != 0 && !flt_session(handle, &session)) flt_set(FLT_FAULT, number, 0);
  }
}

CK_RV handle_recycle_C_CloseSession(CK_SESSION_HANDLE hSession)
{
  const CK_ULONG handle = flt_get(FLT_FAULT, hSession);
  if (handle == 0) return CKR_SESSION_HANDLE_INVALID;
  const CK_RV rv = NEXT(C_CloseSession, (handle));
  if (rv == CKR_OK) flt_set(FLT_FAULT, hSession, 0);
  return rv;
}

CK_RV handle_recycle_C_CloseAllSessions(CK_SLOT_ID slotID)
{
  const CK_RV rv = NEXT(C_CloseAllSessions, (slotID));
  if (rv == CKR_OK) free_numbers();
  return rv;
}

CK_RV handle_recycle_ANY(struct flt_call *call)
{
  if (flt_has_session(call)) call->arg[0] = flt_get(FLT_FAULT, call->arg[0]);
  return flt_go_on(call);
}

/* --- NSS-SESS-04: closed and still there -------------------------------------------------------------------------- */

CK_RV closed_ok_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                              CK_SESSION_HANDLE_PTR phSession)
{
  const CK_RV rv = NEXT(C_OpenSession, (slotID, flags, pApplication, Notify, phSession));
  if (rv == CKR_OK) flt_set(FLT_FAULT, *phSession, slotID + 1);
  return rv;
}

CK_RV closed_ok_C_CloseSession(CK_SESSION_HANDLE hSession)
{
  const CK_RV rv = NEXT(C_CloseSession, (hSession));
  return rv == CKR_SESSION_HANDLE_INVALID && flt_get(FLT_FAULT, hSession) ? CKR_OK : rv;
}

/* A closed session stands for one that is open. */
CK_RV closed_ok_ANY(struct flt_call *call)
{
  struct flt_session session;
  const CK_ULONG slot = flt_has_session(call) ? flt_get(FLT_FAULT, call->arg[0]) : 0;
  if (slot != 0 && !flt_session(call->arg[0], &session) && flt_sessions(slot - 1, &session, 1) > 0)
    call->arg[0] = session.handle;
  return flt_go_on(call);
}

/* --- what a close takes with it ----------------------------------------------------------------------------------- */

/* A session that the client does not know of keeps the login. */
CK_RV sticky_login_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  struct flt_session self;
  CK_SESSION_HANDLE keeper;
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (rv == CKR_OK && userType == CKU_USER && flt_session(hSession, &self) && !flt_get(FLT_SLOT, self.slot) &&
      TARGET(C_OpenSession, (self.slot, CKF_SERIAL_SESSION, NULL, NULL, &keeper)) == CKR_OK)
    flt_set(FLT_SLOT, self.slot, keeper);
  return rv;
}

CK_RV sticky_login_C_CloseAllSessions(CK_SLOT_ID slotID)
{
  struct flt_session of_slot[64];
  const CK_ULONG keeper = flt_get(FLT_SLOT, slotID);
  if (keeper == 0) return NEXT(C_CloseAllSessions, (slotID));
  const size_t n = flt_sessions(slotID, of_slot, 64);
  for (size_t k = 0; k < n && k < 64; k++)
    if (of_slot[k].handle != keeper) TARGET(C_CloseSession, (of_slot[k].handle));
  return CKR_OK;
}

CK_RV close_logs_out_C_CloseSession(CK_SESSION_HANDLE hSession)
{
  struct flt_session self, other;
  const bool known = flt_session(hSession, &self);
  const CK_RV rv = NEXT(C_CloseSession, (hSession));
  if (rv == CKR_OK && known && flt_sessions(self.slot, &other, 1) > 0) TARGET(C_Logout, (other.handle));
  return rv;
}

static void destroy_session_objects(CK_SESSION_HANDLE session)
{
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE what = {CKA_TOKEN, &no, sizeof no};
  CK_OBJECT_HANDLE found[64];
  CK_ULONG n = 0;
  do {
    if (TARGET(C_FindObjectsInit, (session, &what, 1)) != CKR_OK) return;
    if (TARGET(C_FindObjects, (session, found, 64, &n)) != CKR_OK) n = 0;
    TARGET(C_FindObjectsFinal, (session));
    for (CK_ULONG i = 0; i < n; i++) TARGET(C_DestroyObject, (session, found[i]));
  } while (n == 64);
}

CK_RV session_objects_all_die_C_CloseSession(CK_SESSION_HANDLE hSession)
{
  struct flt_session self;
  CK_SESSION_HANDLE worker;
  if (flt_session(hSession, &self) &&
      TARGET(C_OpenSession, (self.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &worker)) == CKR_OK) {
    destroy_session_objects(worker);
    TARGET(C_CloseSession, (worker));
  }
  return NEXT(C_CloseSession, (hSession));
}

/* --- creating objects --------------------------------------------------------------------------------------------- */

CK_RV create_read_only_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                                      CK_OBJECT_HANDLE_PTR phObject)
{
  return flt_state(hSession) == CKS_RW_PUBLIC_SESSION ? CKR_SESSION_READ_ONLY
                                                      : NEXT(C_CreateObject, (hSession, pTemplate, ulCount, phObject));
}

static bool for_session(CK_ATTRIBUTE_PTR templ, CK_ULONG count)
{
  return !flt_says_bool(templ, count, CKA_TOKEN, true);
}

CK_RV no_session_objects_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                                        CK_OBJECT_HANDLE_PTR phObject)
{
  return for_session(pTemplate, ulCount) ? CKR_FUNCTION_NOT_SUPPORTED
                                         : NEXT(C_CreateObject, (hSession, pTemplate, ulCount, phObject));
}

CK_RV no_session_objects_C_GenerateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                       CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey)
{
  return for_session(pTemplate, ulCount) ? CKR_FUNCTION_NOT_SUPPORTED
                                         : NEXT(C_GenerateKey, (hSession, pMechanism, pTemplate, ulCount, phKey));
}

CK_RV no_session_objects_C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                     CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen,
                                     CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
  if (for_session(pTemplate, ulAttributeCount)) return CKR_FUNCTION_NOT_SUPPORTED;
  return NEXT(C_UnwrapKey,
              (hSession, pMechanism, hUnwrappingKey, pWrappedKey, ulWrappedKeyLen, pTemplate, ulAttributeCount, phKey));
}

CK_RV no_session_objects_C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hBaseKey,
                                     CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
  if (for_session(pTemplate, ulAttributeCount)) return CKR_FUNCTION_NOT_SUPPORTED;
  return NEXT(C_DeriveKey, (hSession, pMechanism, hBaseKey, pTemplate, ulAttributeCount, phKey));
}
