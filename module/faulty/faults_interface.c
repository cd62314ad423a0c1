/* Faults of interfaces and of initialising. */
#include <unistd.h>

#include "faulty/faulty.h"

CK_RV iface_fail_C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
                                CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags)
{
  (void)pInterfaceName, (void)pVersion, (void)ppInterface, (void)flags;
  return CKR_ARGUMENTS_BAD;
}

CK_RV fake_32_C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                             CK_FLAGS flags)
{
  const bool standard = pInterfaceName == NULL || strcmp((const char *)pInterfaceName, "PKCS 11") == 0;
  const bool newest = pVersion == NULL || (pVersion->major == 3 && pVersion->minor == 2);
  if (!standard || !newest || flags != 0 || ppInterface == NULL)
    return NEXT(C_GetInterface, (pInterfaceName, pVersion, ppInterface, flags));
  *ppInterface = flt_interface(3, 2);
  return CKR_OK;
}

CK_RV fake_32_C_VerifySignatureInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey,
                                    CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
  (void)hSession, (void)pMechanism, (void)hKey, (void)pSignature, (void)ulSignatureLen;
  return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV cant_lock_C_Initialize(CK_VOID_PTR pInitArgs)
{
  return pInitArgs != NULL && flt_once() ? CKR_CANT_LOCK : NEXT(C_Initialize, (pInitArgs));
}

CK_RV params_bad_C_Initialize(CK_VOID_PTR pInitArgs)
{
  const CK_C_INITIALIZE_ARGS *args = pInitArgs;
  return args != NULL && args->pReserved != NULL ? CKR_ARGUMENTS_BAD : NEXT(C_Initialize, (pInitArgs));
}

CK_RV double_init_ok_C_Initialize(CK_VOID_PTR pInitArgs)
{
  const CK_RV rv = NEXT(C_Initialize, (pInitArgs));
  return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

/* --- without C_Initialize ----------------------------------------------------------------------------------------- */

static void some_info(CK_INFO_PTR info)
{
  memset(info, 0, sizeof *info);
  info->cryptokiVersion = (CK_VERSION){2, 40};
  FLT_PAD(info->manufacturerID, "p11faulty");
  FLT_PAD(info->libraryDescription, "never initialised");
}

CK_RV noinit_ok_C_GetInfo(CK_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetInfo, (pInfo));
  if (rv != CKR_CRYPTOKI_NOT_INITIALIZED) return rv;
  some_info(pInfo);
  return CKR_OK;
}

CK_RV noinit_ok_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv != CKR_CRYPTOKI_NOT_INITIALIZED) return rv;
  *pulCount = 0;
  return CKR_OK;
}

CK_RV noinit_ok_C_Finalize(CK_VOID_PTR pReserved)
{
  const CK_RV rv = NEXT(C_Finalize, (pReserved));
  return rv == CKR_CRYPTOKI_NOT_INITIALIZED ? CKR_OK : rv;
}

/* --- handles of an earlier life ----------------------------------------------------------------------------------- */

CK_RV reuse_after_reinit_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                                       CK_SESSION_HANDLE_PTR phSession)
{
  const CK_RV rv = NEXT(C_OpenSession, (slotID, flags, pApplication, Notify, phSession));
  if (rv == CKR_OK) flt_set(FLT_EVER, *phSession, slotID + 1);
  return rv;
}

CK_RV reuse_after_reinit_C_CloseSession(CK_SESSION_HANDLE hSession)
{
  const CK_RV rv = NEXT(C_CloseSession, (hSession));
  if (rv == CKR_OK) flt_set(FLT_EVER, hSession, 0);
  return rv;
}

/* What was open when the module was finalised stands for an open session of the same slot. */
CK_RV reuse_after_reinit_ANY(struct flt_call *call)
{
  struct flt_session session;
  const CK_ULONG slot = flt_has_session(call) ? flt_get(FLT_EVER, call->arg[0]) : 0;
  if (slot != 0 && !flt_session(call->arg[0], &session) && flt_sessions(slot - 1, &session, 1) > 0)
    call->arg[0] = session.handle;
  return flt_go_on(call);
}

/* --- fork --------------------------------------------------------------------------------------------------------- */

CK_RV fork_ok_C_Initialize(CK_VOID_PTR pInitArgs)
{
  const CK_RV rv = NEXT(C_Initialize, (pInitArgs));
  if (rv == CKR_OK) flt_set(FLT_EVER, 0, (CK_ULONG)getpid());
  return rv;
}

static bool in_child(CK_RV rv)
{
  return rv == CKR_CRYPTOKI_NOT_INITIALIZED && flt_get(FLT_EVER, 0) != (CK_ULONG)getpid();
}

CK_RV fork_ok_C_GetInfo(CK_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetInfo, (pInfo));
  if (!in_child(rv)) return rv;
  some_info(pInfo);
  return CKR_OK;
}

CK_RV fork_ok_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  struct flt_session session;
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (!in_child(rv) || !flt_session(hSession, &session)) return rv;
  *pInfo = (CK_SESSION_INFO){session.slot, flt_state_user(session.flags), session.flags, 0};
  return CKR_OK;
}

/* --- NSS-INIT-08: a hole ------------------------------------------------------------------------------------------ */

CK_RV null_entry_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  const CK_RV rv = NEXT(C_GetFunctionList, (ppFunctionList));
  if (rv == CKR_OK) *ppFunctionList = flt_list_without(*ppFunctionList, P11_F_C_CancelFunction)->pFunctionList;
  return rv;
}

CK_RV null_entry_C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
                                CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags)
{
  const CK_RV rv = NEXT(C_GetInterface, (pInterfaceName, pVersion, ppInterface, flags));
  if (rv == CKR_OK && strcmp((const char *)(*ppInterface)->pInterfaceName, "PKCS 11") == 0)
    *ppInterface = flt_list_without((*ppInterface)->pFunctionList, P11_F_C_CancelFunction);
  return rv;
}
