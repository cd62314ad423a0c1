/* Faults of objects and their attributes. */
#include "faulty/faulty.h"

/* --- P11-OBJ-03: an attribute that is not there ------------------------------------------------------------------- */

/* One attribute of an object that has no CKA_LABEL. */
static CK_RV without_label(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return a->type == CKA_LABEL ? flt_refuse(a, CKR_ATTRIBUTE_TYPE_INVALID)
                              : NEXT(C_GetAttributeValue, (session, object, a, 1));
}

CK_RV missing_label_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                        CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, without_label);
}

CK_RV unavail_zero_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                       CK_ULONG ulCount)
{
  const CK_RV rv = flt_each_attribute(hSession, hObject, pTemplate, ulCount, without_label);
  CK_ATTRIBUTE_PTR label = flt_entry(pTemplate, ulCount, CKA_LABEL);
  if (label != NULL && rv == CKR_ATTRIBUTE_TYPE_INVALID) label->ulValueLen = 0;
  return rv;
}

CK_RV unavail_ok_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                     CK_ULONG ulCount)
{
  const CK_RV rv = flt_each_attribute(hSession, hObject, pTemplate, ulCount, without_label);
  return rv == CKR_ATTRIBUTE_TYPE_INVALID ? CKR_OK : rv;
}

CK_RV unavail_abort_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                        CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const CK_ATTRIBUTE *label = flt_entry(pTemplate, ulCount, CKA_LABEL);
  const CK_ULONG up_to = label != NULL ? (CK_ULONG)(label - pTemplate) + 1 : ulCount;
  return flt_each_attribute(hSession, hObject, pTemplate, up_to, without_label);
}

CK_RV unavail_lie_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                      CK_ULONG ulCount)
{
  return ulCount > 1 ? flt_each_attribute(hSession, hObject, pTemplate, ulCount, without_label)
                     : NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

CK_RV unavail_whole_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                        CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const bool among_others = ulCount > 1 && flt_entry(pTemplate, ulCount, CKA_LABEL) != NULL;
  return among_others ? CKR_GENERAL_ERROR : NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}
