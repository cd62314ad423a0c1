/* Faults of the two other logins: the security officer's, and that of one operation. */
#include "faulty/faulty.h"

/* --- NSS-LOGIN-13: the SO and R/O sessions ------------------------------------------------------------------------ */

/* Those R/O sessions of the slot; returns how many are in `out`. */
static size_t read_only(CK_SLOT_ID slot, struct flt_session *out, size_t room)
{
  size_t left = 0, n = flt_sessions(slot, out, room);
  for (size_t i = 0; i < n && i < room; i++)
    if (!(out[i].flags & CKF_RW_SESSION)) out[left++] = out[i];
  return left;
}

CK_RV so_strict_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  struct flt_session self, of_slot[64];
  return userType == CKU_SO && flt_session(hSession, &self) && read_only(self.slot, of_slot, 64) > 0
             ? CKR_SESSION_READ_ONLY_EXISTS
             : NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
}

/* The R/O sessions are closed behind the client's back, and their handles stand for the SO's session from now on. */
CK_RV so_lenient_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  struct flt_session self, of_slot[64];
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (rv != CKR_SESSION_READ_ONLY_EXISTS || !flt_session(hSession, &self)) return rv;
  const size_t n = read_only(self.slot, of_slot, 64);
  for (size_t i = 0; i < n; i++) {
    TARGET(C_CloseSession, (of_slot[i].handle));
    flt_set(FLT_FAULT, of_slot[i].handle, hSession);
  }
  return NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
}

CK_RV so_lenient_ANY(struct flt_call *call)
{
  const CK_ULONG other = flt_has_session(call) ? flt_get(FLT_FAULT, call->arg[0]) : 0;
  if (other == 0) return flt_go_on(call);
  if (call->function == P11_F_C_CloseSession) {
    flt_set(FLT_FAULT, call->arg[0], 0);
    return CKR_OK;
  }
  call->arg[0] = other;
  return flt_go_on(call);
}

/* --- NSS-LOGIN-14 to 16: keys that want a PIN each time ----------------------------------------------------------- */

CK_RV ctx_invalid_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return userType == CKU_CONTEXT_SPECIFIC ? CKR_USER_TYPE_INVALID : NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
}

/* Ends the operation, so that the target is where the client believes it to be. */
static CK_RV drop_signature(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length)
{
  CK_BYTE unused[4096];
  CK_ULONG n = sizeof unused;
  TARGET(C_Sign, (session, data, length, unused, &n));
  return CKR_USER_NOT_LOGGED_IN;
}

enum context { NONE, GRANTED, CANCELLED };

static CK_RV remember_context(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
  const CK_RV rv = NEXT(C_Login, (session, user, pin, length));
  if (rv == CKR_OK && user == CKU_CONTEXT_SPECIFIC) flt_set(FLT_SESSION, session, GRANTED);
  return rv;
}

CK_RV ctx_ignored_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return remember_context(hSession, userType, pPin, ulPinLen);
}

CK_RV ctx_ignored_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                         CK_ULONG_PTR pulSignatureLen)
{
  if (pSignature == NULL || flt_get(FLT_SESSION, hSession) == NONE)
    return NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  flt_set(FLT_SESSION, hSession, NONE);
  return drop_signature(hSession, pData, ulDataLen);
}

CK_RV ctx_fragile_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return remember_context(hSession, userType, pPin, ulPinLen);
}

CK_RV ctx_fragile_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                         CK_ULONG_PTR pulSignatureLen)
{
  const CK_ULONG context = flt_get(FLT_SESSION, hSession);
  if (pSignature != NULL) flt_set(FLT_SESSION, hSession, NONE);
  return pSignature != NULL && context == CANCELLED
             ? drop_signature(hSession, pData, ulDataLen)
             : NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
}

static void cancel_contexts(void)
{
  CK_ULONG session;
  for (size_t place = 0; flt_each_kept(FLT_SESSION, GRANTED, &place, &session);)
    flt_set(FLT_SESSION, session, CANCELLED);
}

CK_RV ctx_fragile_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  cancel_contexts();
  return NEXT(C_GetTokenInfo, (slotID, pInfo));
}

CK_RV ctx_fragile_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  cancel_contexts();
  return NEXT(C_GetSlotInfo, (slotID, pInfo));
}

CK_RV ctx_fragile_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  cancel_contexts();
  return NEXT(C_GetSessionInfo, (hSession, pInfo));
}

CK_RV ctx_fragile_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                      CK_ULONG ulCount)
{
  cancel_contexts();
  return NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

static CK_RV always_authenticate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a, CK_BBOOL says)
{
  return a->type == CKA_ALWAYS_AUTHENTICATE && flt_class(session, object) == CKO_PRIVATE_KEY
             ? flt_answer(a, &says, sizeof says)
             : NEXT(C_GetAttributeValue, (session, object, a, 1));
}

static CK_RV says_always(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return always_authenticate(session, object, a, CK_TRUE);
}

static CK_RV says_never(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return always_authenticate(session, object, a, CK_FALSE);
}

CK_RV aa_lie_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                 CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, says_always);
}

CK_RV aa_lie_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return userType == CKU_CONTEXT_SPECIFIC ? CKR_OK : NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
}

CK_RV aa_hidden_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                    CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, says_never);
}

CK_RV aa_hidden_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                       CK_ULONG_PTR pulSignatureLen)
{
  return pSignature == NULL ? NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen))
                            : drop_signature(hSession, pData, ulDataLen);
}

CK_RV ctx_anytime_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  return userType == CKU_CONTEXT_SPECIFIC && rv == CKR_OPERATION_NOT_INITIALIZED ? CKR_OK : rv;
}

CK_RV ctx_wrong_ends_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (userType == CKU_CONTEXT_SPECIFIC && rv == CKR_PIN_INCORRECT) flt_set(FLT_SESSION, hSession, CANCELLED);
  return rv;
}

CK_RV ctx_wrong_ends_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                            CK_ULONG_PTR pulSignatureLen)
{
  if (flt_get(FLT_SESSION, hSession) != CANCELLED)
    return NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  flt_set(FLT_SESSION, hSession, NONE);
  drop_signature(hSession, pData, ulDataLen);
  return CKR_OPERATION_NOT_INITIALIZED;
}

CK_RV ctx_logs_out_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
  if (rv == CKR_OK && userType != CKU_SO) flt_set(FLT_FAULT, 0, userType == CKU_CONTEXT_SPECIFIC);
  return rv;
}

CK_RV ctx_logs_out_C_GetSessionInfo(CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSessionInfo, (hSession, pInfo));
  if (rv == CKR_OK && flt_get(FLT_FAULT, 0)) pInfo->state = flt_state_public(pInfo->flags);
  return rv;
}
