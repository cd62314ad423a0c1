/* Faults of certificates and the attributes that repeat what is in them. */
#include "faulty/faulty.h"

enum { LONGEST = 8192 };

#define READ(id)                                                                                                   \
  CK_RV id##_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate, \
                                 CK_ULONG ulCount)                                                                 \
  {                                                                                                                \
    return flt_each_attribute(hSession, hObject, pTemplate, ulCount, id##_one);                                    \
  }

static bool of_certificate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a,
                           CK_ATTRIBUTE_TYPE type)
{
  return a->type == type && flt_class(session, object) == CKO_CERTIFICATE;
}

/* --- NSS-CERT-07 -------------------------------------------------------------------------------------------------- */

static CK_RV no_issuer_attr_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return of_certificate(session, object, a, CKA_ISSUER) ? flt_refuse(a, CKR_ATTRIBUTE_TYPE_INVALID)
                                                        : NEXT(C_GetAttributeValue, (session, object, a, 1));
}
READ(no_issuer_attr)

static CK_RV no_value_attr_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return of_certificate(session, object, a, CKA_VALUE) ? flt_refuse(a, CKR_ATTRIBUTE_TYPE_INVALID)
                                                       : NEXT(C_GetAttributeValue, (session, object, a, 1));
}
READ(no_value_attr)

/* The last byte is of the text of the last name. */
static CK_RV wrong_issuer_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv == CKR_OK && of_certificate(session, object, a, CKA_ISSUER) && a->pValue != NULL && a->ulValueLen > 0)
    ((CK_BYTE *)a->pValue)[a->ulValueLen - 1] ^= 1;
  return rv;
}
READ(wrong_issuer)

static CK_RV cert_tail_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  CK_BYTE der[LONGEST] = {0};
  CK_ULONG length;
  if (!of_certificate(session, object, a, CKA_VALUE) ||
      !flt_read(session, object, CKA_VALUE, der, LONGEST - 64, &length))
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  return flt_answer(a, der, length + 64);
}
READ(cert_tail)

/* --- NSS-CERT-09 -------------------------------------------------------------------------------------------------- */

static void replace(CK_BYTE *bytes, size_t size, const void *this, const void *by, size_t length)
{
  for (size_t i = 0; i + length <= size; i++)
    if (memcmp(bytes + i, this, length) == 0) memcpy(bytes + i, by, length);
}

/* emailAddress becomes unstructuredName, and an address in the subjectAltName a DNS name. */
static CK_RV no_email_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  static const CK_BYTE mail[] = {6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1},
                       name[] = {6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 2};
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv != CKR_OK || a->pValue == NULL || flt_class(session, object) != CKO_CERTIFICATE) return rv;
  if (a->type != CKA_VALUE && a->type != CKA_SUBJECT && a->type != CKA_ISSUER) return rv;
  replace(a->pValue, a->ulValueLen, mail, name, sizeof mail);
  replace(a->pValue, a->ulValueLen, "\x81\x11user@example.test", "\x82\x11user.example.test", 19);
  return rv;
}
READ(no_email)
