/* Faults of what belongs together: CKA_ID, names that are used twice. */
#include "faulty/faulty.h"

#define READ(id)                                                                                                   \
  CK_RV id##_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate, \
                                 CK_ULONG ulCount)                                                                 \
  {                                                                                                                \
    return flt_each_attribute(hSession, hObject, pTemplate, ulCount, id##_one);                                    \
  }

static bool is(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_OBJECT_CLASS class)
{
  return flt_class(session, object) == class;
}

/* --- NSS-CERT-02 -------------------------------------------------------------------------------------------------- */

static CK_RV dup_cert_label_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  if (a->type != CKA_LABEL || !is(session, object, CKO_CERTIFICATE))
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  return flt_answer(a, "user", 4);
}
READ(dup_cert_label)

/* --- NSS-CERT-03 -------------------------------------------------------------------------------------------------- */

static CK_RV id_mismatch_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv == CKR_OK && a->type == CKA_ID && a->pValue != NULL && a->ulValueLen > 0 &&
      is(session, object, CKO_CERTIFICATE))
    ((CK_BYTE *)a->pValue)[a->ulValueLen - 1] ^= 1;
  return rv;
}
READ(id_mismatch)

static const CK_BYTE only_id[] = "the only CKA_ID";

static CK_RV id_dup_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  if (a->type != CKA_ID || !(is(session, object, CKO_CERTIFICATE) || is(session, object, CKO_PRIVATE_KEY)))
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  return flt_answer(a, only_id, sizeof only_id);
}
READ(id_dup)

/* All have that CKA_ID: who looks for it finds all. */
CK_RV id_dup_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  CK_ATTRIBUTE other[FLT_TEMPLATE];
  const CK_ATTRIBUTE *id = flt_entry(pTemplate, ulCount, CKA_ID);
  if (id == NULL || ulCount > FLT_TEMPLATE || id->ulValueLen != sizeof only_id ||
      memcmp(id->pValue, only_id, sizeof only_id) != 0)
    return NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
  const CK_ULONG left = flt_without(pTemplate, ulCount, CKA_ID, other);
  return NEXT(C_FindObjectsInit, (hSession, other, left));
}

static CK_RV id_empty_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return a->type == CKA_ID && is(session, object, CKO_PRIVATE_KEY) ? flt_answer(a, "", 0)
                                                                   : NEXT(C_GetAttributeValue, (session, object, a, 1));
}
READ(id_empty)

static CK_RV id_zero_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return a->type == CKA_ID && is(session, object, CKO_CERTIFICATE) ? flt_answer(a, "\0\0\0\0", 4)
                                                                   : NEXT(C_GetAttributeValue, (session, object, a, 1));
}
READ(id_zero)
