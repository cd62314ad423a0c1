/* Faults of certificates, their labels and IDs. */
#include "faulty/faulty.h"

/* --- NSS-CERT-01: labels ------------------------------------------------------------------------------------------ */

/* CKA_LABEL of a certificate with this behind it, or empty if there is nothing to put behind it. */
static CK_RV tail(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a, const char *behind, size_t n)
{
  CK_BYTE text[256];
  CK_ULONG length;
  if (a->type != CKA_LABEL || flt_class(session, object) != CKO_CERTIFICATE ||
      !flt_read(session, object, CKA_LABEL, text, sizeof text - n, &length))
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  memcpy(text + length, behind, n);
  return flt_answer(a, text, n > 0 ? length + n : 0);
}

static CK_RV with_blank(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return tail(session, object, a, " ", 1);
}

static CK_RV with_nul(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return tail(session, object, a, "", 1);
}

static CK_RV with_nothing(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return tail(session, object, a, "", 0);
}

CK_RV label_trailing_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                         CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, with_blank);
}

CK_RV label_ends_nul_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                         CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, with_nul);
}

CK_RV label_empty_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                      CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, with_nothing);
}
