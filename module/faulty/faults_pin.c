/* Faults of setting PINs. */
#include "faulty/faulty.h"

CK_RV setpin_general_C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                              CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  (void)hSession, (void)pOldPin, (void)ulOldLen, (void)pNewPin, (void)ulNewLen;
  return CKR_GENERAL_ERROR;
}

CK_RV setpin_noop_C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                           CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  (void)hSession, (void)pOldPin, (void)ulOldLen, (void)pNewPin, (void)ulNewLen;
  return CKR_OK;
}

CK_RV setpin_logs_out_C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                               CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  const CK_RV rv = NEXT(C_SetPIN, (hSession, pOldPin, ulOldLen, pNewPin, ulNewLen));
  if (rv == CKR_OK) TARGET(C_Logout, (hSession));
  return rv;
}

CK_RV initpin_anytime_C_InitPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return flt_state(hSession) == CKS_RW_SO_FUNCTIONS ? NEXT(C_InitPIN, (hSession, pPin, ulPinLen)) : CKR_OK;
}

CK_RV inittoken_anytime_C_InitToken(CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pLabel)
{
  struct flt_session any;
  return flt_sessions(slotID, &any, 1) > 0 ? CKR_OK : NEXT(C_InitToken, (slotID, pPin, ulPinLen, pLabel));
}

CK_RV setpin_len_C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                          CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  (void)hSession, (void)pOldPin, (void)ulOldLen, (void)pNewPin, (void)ulNewLen;
  return CKR_PIN_LEN_RANGE;
}

CK_RV setpin_short_C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                            CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  const CK_RV rv = NEXT(C_SetPIN, (hSession, pOldPin, ulOldLen, pNewPin, ulNewLen));
  return rv == CKR_PIN_LEN_RANGE ? CKR_OK : rv;
}

CK_RV setpin_ro_C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                         CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  const CK_RV rv = NEXT(C_SetPIN, (hSession, pOldPin, ulOldLen, pNewPin, ulNewLen));
  return rv == CKR_SESSION_READ_ONLY ? CKR_OK : rv;
}

CK_RV setpin_user_only_C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                                CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  return flt_is_user(flt_state(hSession)) ? NEXT(C_SetPIN, (hSession, pOldPin, ulOldLen, pNewPin, ulNewLen))
                                          : CKR_USER_NOT_LOGGED_IN;
}
