/* Faults of the login and of the state that C_GetSessionInfo reports. */
#include "faulty/faulty.h"

CK_RV rw_state_wrong_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK && !(pInfo->flags & CKF_RW_SESSION))
    pInfo->state = pInfo->state == CKS_RO_USER_FUNCTIONS ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION;
  return rv;
}

CK_RV rw_flag_wrong_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK) pInfo->flags ^= CKF_RW_SESSION;
  return rv;
}

CK_RV serial_clear_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK) pInfo->flags &= ~(CK_FLAGS)CKF_SERIAL_SESSION;
  return rv;
}

CK_RV state_99_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK) pInfo->state = 99;
  return rv;
}

CK_RV slot_wrong_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK) pInfo->slotID++;
  return rv;
}

CK_RV stale_state_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK) pInfo->state = flt_state_public(pInfo->flags);
  return rv;
}

/* --- C_Login ------------------------------------------------------------------------------------------------------ */

CK_RV already_but_public_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                                 CK_ULONG ulPinLen)
{
  return userType == CKU_USER ? CKR_USER_ALREADY_LOGGED_IN : NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
}

static CK_RV wrong_pin_is(CK_RV code, CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin,
                          CK_ULONG length)
{
  const CK_RV rv = NEXT(C_Login, (session, user, pin, length));
  return rv == CKR_PIN_INCORRECT ? code : rv;
}

CK_RV badpin_general_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return wrong_pin_is(CKR_GENERAL_ERROR, hSession, userType, pPin, ulPinLen);
}

CK_RV badpin_device_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return wrong_pin_is(CKR_DEVICE_ERROR, hSession, userType, pPin, ulPinLen);
}

CK_RV badpin_len_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return wrong_pin_is(CKR_PIN_LEN_RANGE, hSession, userType, pPin, ulPinLen);
}

CK_RV badpin_vendor_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return wrong_pin_is(CKR_VENDOR_DEFINED | 0x63c2, hSession, userType, pPin, ulPinLen); /* a card's status word */
}

CK_RV locked_incorrect_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetTokenInfo, (slotID, pInfo));
  if (rv == CKR_OK && pInfo->flags & CKF_TOKEN_INITIALIZED) pInfo->flags |= CKF_USER_PIN_LOCKED;
  return rv;
}

CK_RV locked_incorrect_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                               CK_ULONG ulPinLen)
{
  NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  return CKR_PIN_INCORRECT;
}

/* --- a card that is pulled ---------------------------------------------------------------------------------------- */

CK_RV absent_after_login_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                                 CK_ULONG ulPinLen)
{
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (rv == CKR_OK) flt_set(FLT_FAULT, 0, 1);
  return rv;
}

CK_RV absent_after_login_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSlotInfo, (slotID, pInfo));
  if (rv == CKR_OK && flt_get(FLT_FAULT, 0)) pInfo->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
  return rv;
}

CK_RV absent_after_login_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK && flt_get(FLT_FAULT, 0)) pInfo->state = flt_state_public(pInfo->flags);
  return rv;
}
