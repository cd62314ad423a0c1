/* Faults of looking certificates up, and of what is seen without a login. */
#include "faulty/faulty.h"

/* --- NSS-CERT-04 -------------------------------------------------------------------------------------------------- */

static CK_RV init_without(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
  const CK_RV rv = NEXT(C_FindObjectsInit, (session, templ, count));
  if (rv == CKR_OK) flt_set(FLT_SESSION, session, flt_entry(templ, count, type) != NULL);
  return rv;
}

static CK_RV nothing(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max, CK_ULONG_PTR count)
{
  const CK_RV rv = NEXT(C_FindObjects, (session, objects, max, count));
  if (rv == CKR_OK && flt_get(FLT_SESSION, session) != 0) *count = 0;
  return rv;
}

#define NO_SEARCH(id, type)                                                                                      \
  CK_RV id##_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)         \
  {                                                                                                              \
    return init_without(hSession, pTemplate, ulCount, type);                                                     \
  }                                                                                                              \
  CK_RV id##_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount, \
                           CK_ULONG_PTR pulObjectCount)                                                          \
  {                                                                                                              \
    return nothing(hSession, phObject, ulMaxObjectCount, pulObjectCount);                                        \
  }
NO_SEARCH(no_issuer_search, CKA_ISSUER)
NO_SEARCH(no_subject_search, CKA_SUBJECT)
NO_SEARCH(no_value_search, CKA_VALUE)
NO_SEARCH(no_label_search, CKA_LABEL)
NO_SEARCH(find_no_label, CKA_LABEL) /* P11-FIND-07 */

/* --- NSS-CERT-05, NSS-CERT-06 ------------------------------------------------------------------------------------- */

static bool not_a_certificate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  return flt_is_user(flt_state(session)) || flt_class(session, object) != CKO_CERTIFICATE;
}

CK_RV private_certs_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                                  CK_ULONG_PTR pulObjectCount)
{
  return flt_find_only(hSession, phObject, ulMaxObjectCount, pulObjectCount, not_a_certificate);
}

static CK_RV private_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_BBOOL yes = CK_TRUE;
  return a->type == CKA_PRIVATE && flt_class(session, object) == CKO_CERTIFICATE
             ? flt_answer(a, &yes, sizeof yes)
             : NEXT(C_GetAttributeValue, (session, object, a, 1));
}

CK_RV private_certs_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                        CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, private_one);
}

static bool not_a_public_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  return flt_is_user(flt_state(session)) || flt_class(session, object) != CKO_PUBLIC_KEY;
}

CK_RV hide_pubkeys_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                                 CK_ULONG_PTR pulObjectCount)
{
  return flt_find_only(hSession, phObject, ulMaxObjectCount, pulObjectCount, not_a_public_key);
}

/* --- NSS-CERT-08 -------------------------------------------------------------------------------------------------- */

enum { PROFILE = 0x7ffffff1, PENDING = 1, GIVEN = 2 };

CK_RV profile_lie_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const CK_RV rv = NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
  if (rv == CKR_OK) flt_set(FLT_SESSION, hSession, flt_says(pTemplate, ulCount, CKA_CLASS, CKO_PROFILE) ? PENDING : 0);
  return rv;
}

CK_RV profile_lie_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                                CK_ULONG_PTR pulObjectCount)
{
  if (flt_get(FLT_SESSION, hSession) != PENDING || ulMaxObjectCount == 0)
    return NEXT(C_FindObjects, (hSession, phObject, ulMaxObjectCount, pulObjectCount));
  flt_set(FLT_SESSION, hSession, GIVEN);
  phObject[0] = PROFILE;
  *pulObjectCount = 1;
  return CKR_OK;
}

static CK_RV of_profile(CK_ATTRIBUTE_PTR a)
{
  const CK_ULONG class = CKO_PROFILE, id = CKP_PUBLIC_CERTIFICATES_TOKEN;
  const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  switch (a->type) {
    case CKA_CLASS: return flt_answer(a, &class, sizeof class);
    case CKA_PROFILE_ID: return flt_answer(a, &id, sizeof id);
    case CKA_TOKEN: return flt_answer(a, &yes, sizeof yes);
    case CKA_PRIVATE: return flt_answer(a, &no, sizeof no);
    default: return flt_refuse(a, CKR_ATTRIBUTE_TYPE_INVALID);
  }
}

CK_RV profile_lie_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                      CK_ULONG ulCount)
{
  CK_RV result = CKR_OK;
  if (hObject != PROFILE) return NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
  for (CK_ULONG i = 0; i < ulCount; i++) {
    const CK_RV rv = of_profile(&pTemplate[i]);
    if (rv != CKR_OK) result = rv;
  }
  return result;
}
