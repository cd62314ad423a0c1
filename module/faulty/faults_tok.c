/* Faults of token information. A token that is not initialised is left as it is: it has no label and no PIN yet. */
#include "faulty/faulty.h"

/* The token's information as the next one has it; false: there is nothing to change. */
static bool initialised(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info, CK_RV *rv)
{
  *rv = NEXT(C_GetTokenInfo, (slot, info));
  return *rv == CKR_OK && (info->flags & CKF_TOKEN_INITIALIZED) != 0;
}

CK_RV dup_label_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) FLT_PAD(pInfo->label, "Twin");
  return rv;
}

CK_RV empty_label_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) FLT_PAD(pInfo->label, "");
  return rv;
}

CK_RV nss_label_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) FLT_PAD(pInfo->label, "NSS Certificate DB");
  return rv;
}

CK_RV no_pininit_flag_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) pInfo->flags &= ~(CK_FLAGS)CKF_USER_PIN_INITIALIZED;
  return rv;
}

CK_RV colon_label_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (!initialised(slotID, pInfo, &rv)) return rv;
  static const char tail[] = ":token";
  size_t n = sizeof pInfo->label;
  while (n > 0 && pInfo->label[n - 1] == ' ') n--;
  if (n + sizeof tail - 1 <= sizeof pInfo->label) memcpy(pInfo->label + n, tail, sizeof tail - 1);
  return rv;
}

CK_RV no_loginreq_flag_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) pInfo->flags &= ~(CK_FLAGS)CKF_LOGIN_REQUIRED;
  return rv;
}

CK_RV stale_flags_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetTokenInfo, (slotID, pInfo));
  if (rv != CKR_OK) return rv;
  flt_claim(FLT_SLOT, slotID, pInfo->flags + 1); /* plus one: 0 is "none yet" */
  pInfo->flags = flt_get(FLT_SLOT, slotID) - 1;
  return rv;
}

CK_RV pinpad_args_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) pInfo->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
  return rv;
}

CK_RV pinpad_args_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return pPin == NULL ? CKR_ARGUMENTS_BAD : NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
}

/* --- NSS-TOK-07: write protection --------------------------------------------------------------------------------- */

CK_RV wp_lie_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                           CK_SESSION_HANDLE_PTR phSession)
{
  return flags & CKF_RW_SESSION ? CKR_TOKEN_WRITE_PROTECTED
                                : NEXT(C_OpenSession, (slotID, flags, pApplication, Notify, phSession));
}

CK_RV wp_lie_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                            CK_OBJECT_HANDLE_PTR phObject)
{
  return flt_says_bool(pTemplate, ulCount, CKA_TOKEN, true)
             ? CKR_TOKEN_WRITE_PROTECTED
             : NEXT(C_CreateObject, (hSession, pTemplate, ulCount, phObject));
}

CK_RV wp_lie_C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                               CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
                               CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
                               CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey)
{
  if (flt_says_bool(pPrivateKeyTemplate, ulPrivateKeyAttributeCount, CKA_TOKEN, true)) return CKR_TOKEN_WRITE_PROTECTED;
  return NEXT(C_GenerateKeyPair, (hSession, pMechanism, pPublicKeyTemplate, ulPublicKeyAttributeCount,
                                  pPrivateKeyTemplate, ulPrivateKeyAttributeCount, phPublicKey, phPrivateKey));
}

CK_RV wp_lie_C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                 CK_ULONG ulCount)
{
  return flt_is_true(hSession, hObject, CKA_TOKEN) ? CKR_TOKEN_WRITE_PROTECTED
                                                   : NEXT(C_SetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

CK_RV wp_lie_C_DestroyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject)
{
  return flt_is_true(hSession, hObject, CKA_TOKEN) ? CKR_TOKEN_WRITE_PROTECTED
                                                   : NEXT(C_DestroyObject, (hSession, hObject));
}

CK_RV wp_ignored_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) pInfo->flags |= CKF_WRITE_PROTECTED;
  return rv;
}

CK_RV rw_ignored_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                               CK_SESSION_HANDLE_PTR phSession)
{
  return NEXT(C_OpenSession, (slotID, flags & ~(CK_FLAGS)CKF_RW_SESSION, pApplication, Notify, phSession));
}

/* --- NSS-TOK-08: how many sessions -------------------------------------------------------------------------------- */

static CK_RV tell_limit(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info, CK_ULONG most)
{
  const CK_RV rv = NEXT(C_GetTokenInfo, (slot, info));
  if (rv == CKR_OK) info->ulMaxSessionCount = info->ulMaxRwSessionCount = most;
  return rv;
}

static CK_RV open_up_to(CK_ULONG most, CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                        CK_SESSION_HANDLE_PTR session)
{
  struct flt_session unused;
  return flt_sessions(slot, &unused, 1) >= most ? CKR_SESSION_COUNT
                                                : NEXT(C_OpenSession, (slot, flags, application, notify, session));
}

CK_RV max_sess_1_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  return tell_limit(slotID, pInfo, flt_value(1));
}

CK_RV max_sess_1_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                               CK_SESSION_HANDLE_PTR phSession)
{
  return open_up_to(flt_value(1), slotID, flags, pApplication, Notify, phSession);
}

CK_RV early_session_count_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  return tell_limit(slotID, pInfo, CK_EFFECTIVELY_INFINITE);
}

CK_RV early_session_count_C_OpenSession(CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication, CK_NOTIFY Notify,
                                        CK_SESSION_HANDLE_PTR phSession)
{
  return open_up_to(flt_value(2), slotID, flags, pApplication, Notify, phSession);
}

CK_RV session_limit_lie_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  return tell_limit(slotID, pInfo, flt_value(2));
}

CK_RV session_count_0_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetTokenInfo, (slotID, pInfo));
  if (rv == CKR_OK) pInfo->ulSessionCount = pInfo->ulRwSessionCount = 0;
  return rv;
}

/* --- NSS-TOK-03: a private object is a sign that there is a PIN ---------------------------------------------------- */

static CK_RV certificate_is_private(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  static const CK_BBOOL yes = CK_TRUE;
  return a->type == CKA_PRIVATE && flt_class(session, object) == CKO_CERTIFICATE
             ? flt_answer(a, &yes, sizeof yes)
             : NEXT(C_GetAttributeValue, (session, object, a, 1));
}

CK_RV certs_say_private_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, certificate_is_private);
}
