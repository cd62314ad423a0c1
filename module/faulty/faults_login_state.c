/* Faults of who is logged in where, and of logging in or out twice. */
#include "faulty/faulty.h"

/* --- NSS-LOGIN-01: a login of one session ------------------------------------------------------------------------- */

CK_RV login_not_propagated_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                                   CK_ULONG ulPinLen)
{
  CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (userType == CKU_USER && rv == CKR_USER_ALREADY_LOGGED_IN && !flt_get(FLT_SESSION, hSession)) rv = CKR_OK;
  if (rv == CKR_OK && userType != CKU_CONTEXT_SPECIFIC) flt_set(FLT_SESSION, hSession, 1);
  return rv;
}

CK_RV login_not_propagated_C_Logout(CK_SESSION_HANDLE hSession)
{
  const CK_RV rv = NEXT(C_Logout, (hSession));
  if (rv == CKR_OK) flt_forget(FLT_SESSION);
  return rv;
}

CK_RV login_not_propagated_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK && !flt_get(FLT_SESSION, hSession)) pInfo->state = flt_state_public(pInfo->flags);
  return rv;
}

/* The target would do it, but this session has not logged in. */
static bool has_no_right(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
  return !flt_get(FLT_SESSION, session) && flt_is_true(session, key, CKA_PRIVATE);
}

CK_RV login_not_propagated_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return has_no_right(hSession, hKey) ? CKR_USER_NOT_LOGGED_IN : NEXT(C_SignInit, (hSession, pMechanism, hKey));
}

CK_RV login_not_propagated_C_DecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return has_no_right(hSession, hKey) ? CKR_USER_NOT_LOGGED_IN : NEXT(C_DecryptInit, (hSession, pMechanism, hKey));
}

CK_RV login_not_propagated_C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                             CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
                                             CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
                                             CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey)
{
  if (!flt_get(FLT_SESSION, hSession)) return CKR_USER_NOT_LOGGED_IN;
  return NEXT(C_GenerateKeyPair, (hSession, pMechanism, pPublicKeyTemplate, ulPublicKeyAttributeCount,
                                  pPrivateKeyTemplate, ulPrivateKeyAttributeCount, phPublicKey, phPrivateKey));
}

/* --- states that are always the same ------------------------------------------------------------------------------ */

CK_RV split_state_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK && pInfo->flags & CKF_RW_SESSION) pInfo->state = CKS_RW_PUBLIC_SESSION;
  return rv;
}

CK_RV always_user_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK) pInfo->state = flt_state_user(pInfo->flags);
  return rv;
}

/* The same; which rule finds it is a matter of what the client does. */
CK_RV always_public_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  return stale_state_C_GetSessionInfo(hSession, pInfo);
}

CK_RV stale_user_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return flt_is_true(hSession, hKey, CKA_PRIVATE) ? CKR_USER_NOT_LOGGED_IN
                                                  : NEXT(C_SignInit, (hSession, pMechanism, hKey));
}

CK_RV stale_user_C_DecryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return flt_is_true(hSession, hKey, CKA_PRIVATE) ? CKR_USER_NOT_LOGGED_IN
                                                  : NEXT(C_DecryptInit, (hSession, pMechanism, hKey));
}

/* --- NSS-LOGIN-04: a login that is lost --------------------------------------------------------------------------- */

CK_RV probe_logs_out_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  struct flt_session first;
  const CK_RV rv = NEXT(C_GetTokenInfo, (slotID, pInfo));
  if (rv == CKR_OK && flt_sessions(slotID, &first, 1) > 0) TARGET(C_Logout, (first.handle));
  return rv;
}

CK_RV info_logs_out_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (rv == CKR_OK) flt_set(FLT_FAULT, 0, 0);
  return rv;
}

CK_RV info_logs_out_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK && flt_is_user(pInfo->state) && flt_add(FLT_FAULT, 0, 1) == flt_value(1))
    TARGET(C_Logout, (hSession));
  return rv;
}

static CK_RV signed_off(CK_RV rv, CK_SESSION_HANDLE session, CK_BYTE_PTR signature)
{
  if (rv == CKR_OK && signature) TARGET(C_Logout, (session));
  return rv;
}

CK_RV sign_logs_out_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                           CK_ULONG_PTR pulSignatureLen)
{
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  return signed_off(rv, hSession, pSignature);
}

CK_RV sign_logs_out_C_SignFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
  return signed_off(NEXT(C_SignFinal, (hSession, pSignature, pulSignatureLen)), hSession, pSignature);
}

/* --- twice -------------------------------------------------------------------------------------------------------- */

static CK_RV already_is(CK_RV code, CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
  const CK_RV rv = NEXT(C_Login, (session, user, pin, length));
  return rv == CKR_USER_ALREADY_LOGGED_IN ? code : rv;
}

CK_RV double_login_general_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                                   CK_ULONG ulPinLen)
{
  return already_is(CKR_GENERAL_ERROR, hSession, userType, pPin, ulPinLen);
}

CK_RV double_login_ok_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                              CK_ULONG ulPinLen)
{
  return already_is(CKR_OK, hSession, userType, pPin, ulPinLen);
}

CK_RV logout_resets_card_C_Logout(CK_SESSION_HANDLE hSession)
{
  struct flt_session self, of_slot[64];
  if (!flt_is_public(flt_state(hSession)) || !flt_session(hSession, &self)) return NEXT(C_Logout, (hSession));
  const size_t n = flt_sessions(self.slot, of_slot, 64);
  for (size_t i = 0; i < n && i < 64; i++)
    if (of_slot[i].handle != hSession) TARGET(C_CloseSession, (of_slot[i].handle));
  return CKR_OK;
}

CK_RV logout_ok_C_Logout(CK_SESSION_HANDLE hSession)
{
  return flt_is_public(flt_state(hSession)) ? CKR_OK : NEXT(C_Logout, (hSession));
}

CK_RV logout_general_C_Logout(CK_SESSION_HANDLE hSession)
{
  return flt_is_public(flt_state(hSession)) ? CKR_GENERAL_ERROR : NEXT(C_Logout, (hSession));
}

CK_RV slow_login_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  flt_sleep(flt_value(5000));
  return NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
}

/* --- NSS-LOGIN-17: one login for all slots ------------------------------------------------------------------------ */

CK_RV slot_bleed_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (rv == CKR_OK && userType == CKU_USER) flt_set(FLT_FAULT, 0, 1);
  return rv;
}

CK_RV slot_bleed_C_Logout(CK_SESSION_HANDLE hSession)
{
  const CK_RV rv = NEXT(C_Logout, (hSession));
  if (rv == CKR_OK) flt_set(FLT_FAULT, 0, 0);
  return rv;
}

CK_RV slot_bleed_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK && flt_get(FLT_FAULT, 0)) pInfo->state = flt_state_user(pInfo->flags);
  return rv;
}
