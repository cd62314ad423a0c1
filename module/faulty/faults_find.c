/* Faults of searches. */
#include "faulty/faulty.h"

/* --- P11-FIND-01, NSS-FIND-02, NSS-FIND-03: the order of calls ---------------------------------------------------- */

CK_RV find_end_error_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                                   CK_ULONG_PTR pulObjectCount)
{
  const CK_RV rv = NEXT(C_FindObjects, (hSession, phObject, ulMaxObjectCount, pulObjectCount));
  return rv == CKR_OK && pulObjectCount != NULL && *pulObjectCount == 0 ? CKR_FUNCTION_FAILED : rv;
}

CK_RV find_final_error_C_FindObjectsFinal(CK_SESSION_HANDLE hSession)
{
  const CK_RV rv = NEXT(C_FindObjectsFinal, (hSession));
  return rv == CKR_OK ? CKR_FUNCTION_FAILED : rv;
}

CK_RV find_nested_ok_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const CK_RV rv = NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
  if (rv != CKR_OPERATION_ACTIVE || TARGET(C_FindObjectsFinal, (hSession)) != CKR_OK) return rv;
  return NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
}

CK_RV find_nested_ok_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                                   CK_ULONG_PTR pulObjectCount)
{
  const CK_RV rv = NEXT(C_FindObjects, (hSession, phObject, ulMaxObjectCount, pulObjectCount));
  if (rv != CKR_OPERATION_NOT_INITIALIZED) return rv;
  *pulObjectCount = 0;
  return CKR_OK;
}

/* FLT_SESSION: 1 while the session looks for certificates. */
CK_RV find_err_sticky_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  flt_set(FLT_SESSION, hSession, flt_says(pTemplate, ulCount, CKA_CLASS, CKO_CERTIFICATE));
  return NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
}

CK_RV find_err_sticky_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
                                    CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount)
{
  const bool fails = flt_get(FLT_SESSION, hSession) != 0 && flt_once();
  return fails ? CKR_DEVICE_ERROR : NEXT(C_FindObjects, (hSession, phObject, ulMaxObjectCount, pulObjectCount));
}

CK_RV short_find_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                               CK_ULONG_PTR pulObjectCount)
{
  return NEXT(C_FindObjects, (hSession, phObject, ulMaxObjectCount > 1 ? 1 : ulMaxObjectCount, pulObjectCount));
}

/* --- NSS-FIND-04: what the token does not know --------------------------------------------------------------------- */

CK_RV nss_class_error_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const CK_ATTRIBUTE *class = flt_entry(pTemplate, ulCount, CKA_CLASS);
  CK_OBJECT_CLASS value = 0;
  if (class != NULL && class->pValue != NULL && class->ulValueLen == sizeof value)
    memcpy(&value, class->pValue, sizeof value);
  return value > CKO_OTP_KEY ? CKR_GENERAL_ERROR : NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
}

CK_RV root_list_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const bool roots = flt_says(pTemplate, ulCount, CKA_CLASS, CKO_NSS_BUILTIN_ROOT_LIST);
  return NEXT(C_FindObjectsInit, (hSession, roots ? NULL : pTemplate, roots ? 0 : ulCount));
}

/* --- NSS-FIND-06: while nobody is logged in ------------------------------------------------------------------------- */

static bool keys_while_public(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR templ, CK_ULONG count)
{
  const bool keys =
      flt_says(templ, count, CKA_CLASS, CKO_PRIVATE_KEY) || flt_says(templ, count, CKA_CLASS, CKO_SECRET_KEY);
  const CK_STATE state = keys ? flt_state(session) : 0;
  return keys && (state == CKS_RO_PUBLIC_SESSION || state == CKS_RW_PUBLIC_SESSION);
}

CK_RV private_find_general_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return keys_while_public(hSession, pTemplate, ulCount) ? CKR_GENERAL_ERROR
                                                         : NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
}

CK_RV private_find_denied_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return keys_while_public(hSession, pTemplate, ulCount) ? CKR_USER_NOT_LOGGED_IN
                                                         : NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
}

/* --- P11-FIND-07: the results -------------------------------------------------------------------------------------- */

CK_RV find_ignore_id_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  CK_ATTRIBUTE left[FLT_TEMPLATE];
  if (pTemplate == NULL || ulCount > FLT_TEMPLATE) return NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
  const CK_ULONG count = flt_without(pTemplate, ulCount, CKA_ID, left);
  return NEXT(C_FindObjectsInit, (hSession, left, count));
}

/* Room for one more is kept free. */
static CK_RV one_more(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max, CK_ULONG_PTR count,
                      bool zero)
{
  if (max < 2) return NEXT(C_FindObjects, (session, objects, max, count));
  const CK_RV rv = NEXT(C_FindObjects, (session, objects, max - 1, count));
  if (rv != CKR_OK || objects == NULL || count == NULL || *count == 0) return rv;
  objects[*count] = zero ? 0 : objects[*count - 1];
  ++*count;
  return rv;
}

CK_RV find_twice_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                               CK_ULONG_PTR pulObjectCount)
{
  return one_more(hSession, phObject, ulMaxObjectCount, pulObjectCount, false);
}

CK_RV find_zero_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                              CK_ULONG_PTR pulObjectCount)
{
  return one_more(hSession, phObject, ulMaxObjectCount, pulObjectCount, true);
}

/* The search with another value of an attribute, given that `a` is in the template. */
static CK_RV search_for(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR templ, CK_ULONG count, const CK_ATTRIBUTE *a,
                        const void *value, CK_ULONG length)
{
  CK_ATTRIBUTE changed[FLT_TEMPLATE];
  if (count > FLT_TEMPLATE) return NEXT(C_FindObjectsInit, (session, templ, count));
  memcpy(changed, templ, count * sizeof *templ);
  changed[a - templ].pValue = (CK_VOID_PTR)value;
  changed[a - templ].ulValueLen = length;
  return NEXT(C_FindObjectsInit, (session, changed, count));
}

static const char nowhere[] = "\x01 no object has this \x02";

/* --- NSS-FIND-08: reading what was found --------------------------------------------------------------------------- */

static CK_RV without_token(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_OBJECT_CLASS class = flt_class(session, object);
  return a->type == CKA_TOKEN && (class == CKO_CERTIFICATE || class == CKO_DATA)
             ? flt_refuse(a, CKR_ATTRIBUTE_TYPE_INVALID)
             : NEXT(C_GetAttributeValue, (session, object, a, 1));
}

CK_RV no_cka_token_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                       CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, without_token);
}

CK_RV listed_unreadable_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                            CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return flt_class(hSession, hObject) == CKO_CERTIFICATE
             ? CKR_OBJECT_HANDLE_INVALID
             : NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

/* --- NSS-FIND-09: encodings ---------------------------------------------------------------------------------------- */

/* Length of the bare number in a DER INTEGER of at most 127 bytes; 0: it is none. */
static CK_ULONG bare(const CK_BYTE *der, CK_ULONG length)
{
  return length >= 3 && der[0] == 0x02 && der[1] == length - 2 ? length - 2 : 0;
}

CK_RV raw_serial_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  CK_BYTE der[2 + 127] = {0x02};
  const CK_ATTRIBUTE *a = flt_entry(pTemplate, ulCount, CKA_SERIAL_NUMBER);
  if (a == NULL || a->pValue == NULL || a->ulValueLen == 0 || a->ulValueLen > 127)
    return NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
  if (bare(a->pValue, a->ulValueLen) > 0) return search_for(hSession, pTemplate, ulCount, a, nowhere, sizeof nowhere);
  der[1] = (CK_BYTE)a->ulValueLen;
  memcpy(der + 2, a->pValue, a->ulValueLen);
  return search_for(hSession, pTemplate, ulCount, a, der, a->ulValueLen + 2);
}

static CK_RV with_bare_serial(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  CK_BYTE der[2 + 127];
  CK_ULONG length;
  if (a->type != CKA_SERIAL_NUMBER || !flt_read(session, object, CKA_SERIAL_NUMBER, der, sizeof der, &length) ||
      bare(der, length) == 0)
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  return flt_answer(a, der + 2, length - 2);
}

CK_RV raw_serial_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                     CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, with_bare_serial);
}

CK_RV find_label_nul_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const CK_ATTRIBUTE *a = flt_entry(pTemplate, ulCount, CKA_LABEL);
  if (a == NULL || a->pValue == NULL || a->ulValueLen == 0)
    return NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
  if (((const char *)a->pValue)[a->ulValueLen - 1] != 0)
    return search_for(hSession, pTemplate, ulCount, a, nowhere, sizeof nowhere);
  return search_for(hSession, pTemplate, ulCount, a, a->pValue, a->ulValueLen - 1);
}
