/* Faults of a logout that is one in appearance only: the target stays logged in. */
#include "faulty/faulty.h"

/* FLT_SLOT of it is 1: logged out in appearance only. */
static CK_ULONG slot_of(CK_SESSION_HANDLE session)
{
  struct flt_session s;
  return flt_session(session, &s) ? s.slot : (CK_ULONG)-1;
}

static CK_RV seem_to_log_out(CK_SESSION_HANDLE session)
{
  if (!flt_is_user(flt_state(session))) return NEXT(C_Logout, (session));
  flt_set(FLT_SLOT, slot_of(session), 1);
  return CKR_OK;
}

static CK_RV log_in_again(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
  const bool hidden = flt_get(FLT_SLOT, slot_of(session)) != 0;
  const CK_RV rv = NEXT(C_Login, (session, user, pin, length));
  if (!hidden || user != CKU_USER || rv != CKR_USER_ALREADY_LOGGED_IN) return rv;
  flt_set(FLT_SLOT, slot_of(session), 0);
  return CKR_OK;
}

static CK_RV seeming_state(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (session, info));
  if (rv == CKR_OK && info != NULL && flt_get(FLT_SLOT, slot_of(session)) != 0)
    info->state = flt_state_public(info->flags);
  return rv;
}

#define SEEMS_LOGGED_OUT(id)                                                                                     \
  CK_RV id##_C_Logout(CK_SESSION_HANDLE hSession)                                                                \
  {                                                                                                              \
    return seem_to_log_out(hSession);                                                                            \
  }                                                                                                              \
  CK_RV id##_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen) \
  {                                                                                                              \
    return log_in_again(hSession, userType, pPin, ulPinLen);                                                     \
  }                                                                                                              \
  CK_RV id##_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)                             \
  {                                                                                                              \
    return seeming_state(hSession, pInfo);                                                                       \
  }

/* --- P11-FIND-05: private objects are still found ----------------------------------------------------------------- */

SEEMS_LOGGED_OUT(private_visible)

/* --- P11-OBJ-11: they are not, and their handles are good --------------------------------------------------------- */

SEEMS_LOGGED_OUT(keep_private_handles)

static bool is_public(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  return flt_get(FLT_SLOT, slot_of(session)) == 0 || !flt_is_true(session, object, CKA_PRIVATE);
}

CK_RV keep_private_handles_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
                                         CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount)
{
  return flt_find_only(hSession, phObject, ulMaxObjectCount, pulObjectCount, is_public);
}
