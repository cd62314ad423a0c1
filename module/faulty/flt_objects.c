/* Objects and templates: asking the target, answering one attribute, filtering what is found. */
#include "faulty/faulty.h"

bool flt_read(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG room,
              CK_ULONG *length)
{
  CK_ATTRIBUTE a = {type, value, room};
  if (TARGET(C_GetAttributeValue, (session, object, &a, 1)) != CKR_OK) return false;
  *length = a.ulValueLen;
  return a.ulValueLen != CK_UNAVAILABLE_INFORMATION;
}

CK_ULONG flt_number_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
  CK_ULONG value, length;
  return flt_read(session, object, type, &value, sizeof value, &length) && length == sizeof value ? value
                                                                                                  : (CK_ULONG)-1;
}

bool flt_is_true(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
  CK_BBOOL value;
  CK_ULONG length;
  return flt_read(session, object, type, &value, sizeof value, &length) && length == sizeof value && value != CK_FALSE;
}

CK_ATTRIBUTE_PTR flt_entry(CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
  for (CK_ULONG i = 0; templ != NULL && i < count; i++)
    if (templ[i].type == type) return &templ[i];
  return NULL;
}

bool flt_says(CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ULONG number)
{
  const CK_ATTRIBUTE *a = flt_entry(templ, count, type);
  return a != NULL && a->pValue != NULL && a->ulValueLen == sizeof number &&
         memcmp(a->pValue, &number, sizeof number) == 0;
}

bool flt_says_bool(CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, bool truth)
{
  const CK_ATTRIBUTE *a = flt_entry(templ, count, type);
  return a != NULL && a->pValue != NULL && a->ulValueLen == 1 && (*(CK_BBOOL *)a->pValue != CK_FALSE) == truth;
}

CK_ULONG flt_without(const CK_ATTRIBUTE *templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ATTRIBUTE *out)
{
  CK_ULONG left = 0;
  for (CK_ULONG i = 0; i < count; i++)
    if (templ[i].type != type) out[left++] = templ[i];
  return left;
}

CK_RV flt_each_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR templ, CK_ULONG count,
                         flt_one_attribute *one)
{
  CK_RV result = CKR_OK;
  /* What is no object has no attributes to answer. */
  if (templ == NULL || count == 0 || flt_class(session, object) == CK_UNAVAILABLE_INFORMATION)
    return NEXT(C_GetAttributeValue, (session, object, templ, count));
  for (CK_ULONG i = 0; i < count; i++) {
    const CK_RV rv = one(session, object, &templ[i]);
    if (rv == CKR_OK) continue;
    result = rv;
    if (rv != CKR_ATTRIBUTE_SENSITIVE && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_BUFFER_TOO_SMALL) break;
  }
  return result;
}

CK_RV flt_answer(CK_ATTRIBUTE_PTR a, const void *value, CK_ULONG length)
{
  if (a->pValue != NULL && a->ulValueLen < length) return flt_refuse(a, CKR_BUFFER_TOO_SMALL);
  if (a->pValue != NULL && length > 0) memcpy(a->pValue, value, length);
  a->ulValueLen = length;
  return CKR_OK;
}

CK_RV flt_refuse(CK_ATTRIBUTE_PTR a, CK_RV code)
{
  a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
  return code;
}

CK_RV flt_find_only(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max, CK_ULONG_PTR count,
                    flt_keep *keep)
{
  for (;;) {
    const CK_RV rv = NEXT(C_FindObjects, (session, objects, max, count));
    if (rv != CKR_OK || objects == NULL || count == NULL || *count == 0) return rv;
    CK_ULONG left = 0;
    for (CK_ULONG i = 0; i < *count; i++)
      if (keep(session, objects[i])) objects[left++] = objects[i];
    *count = left;
    if (left > 0) return rv;
  }
}

void flt_pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
  const size_t length = strlen(text);
  memset(field, ' ', size);
  memcpy(field, text, length < size ? length : size);
}
