/* Faults of time and of threads. */
#include <time.h>

#include "faulty/faulty.h"

CK_RV slow_info_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  flt_sleep(flt_value(3000));
  return NEXT(C_GetTokenInfo, (slotID, pInfo));
}

/* --- one lock for all --------------------------------------------------------------------------------------------- */

/* Counted, not locked: a child that is forked meanwhile has only a number to forget. */
static void hold(CK_ULONG milliseconds)
{
  flt_add(FLT_FAULT, 0, 1);
  flt_sleep(milliseconds);
}

static void let_go(void)
{
  if (flt_get(FLT_FAULT, 0) > 0) flt_add(FLT_FAULT, 0, (CK_ULONG)-1);
}

static CK_RV wait_and_go_on(struct flt_call *call)
{
  while (flt_get(FLT_FAULT, 0) > 0 && flt_sleep(1)) continue;
  return flt_go_on(call);
}

CK_RV global_lock_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  hold(flt_value(10000));
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  let_go();
  return rv;
}

CK_RV global_lock_ANY(struct flt_call *call)
{
  return wait_and_go_on(call);
}

CK_RV slow_sign_lock_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                            CK_ULONG_PTR pulSignatureLen)
{
  hold(flt_value(1000));
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  let_go();
  return rv;
}

CK_RV slow_sign_lock_ANY(struct flt_call *call)
{
  return wait_and_go_on(call);
}

/* --- no lock at all ----------------------------------------------------------------------------------------------- */

/* True if another call is in the window already. The window is wide, so that it happens. */
static bool meets_another(void)
{
  const bool met = flt_add(FLT_FAULT, 0, 1) > 1;
  nanosleep(&(struct timespec){0, 200000}, NULL);
  flt_add(FLT_FAULT, 0, (CK_ULONG)-1);
  return met;
}

CK_RV race_window_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return meets_another() ? CKR_GENERAL_ERROR : NEXT(C_SignInit, (hSession, pMechanism, hKey));
}

CK_RV race_window_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                         CK_ULONG_PTR pulSignatureLen)
{
  const bool met = meets_another();
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  return met && pSignature != NULL ? CKR_GENERAL_ERROR : rv;
}

CK_RV race_window_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return meets_another() ? CKR_GENERAL_ERROR : NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
}
