/* Faults of attributes: their lengths, their values, what protects keys. */
#include "faulty/faulty.h"

#define READ(id)                                                                                                   \
  CK_RV id##_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate, \
                                 CK_ULONG ulCount)                                                                 \
  {                                                                                                                \
    return flt_each_attribute(hSession, hObject, pTemplate, ulCount, id##_one);                                    \
  }

static unsigned kind_of(CK_ATTRIBUTE_TYPE type)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  return info != NULL ? info->kind : 0;
}

/* --- P11-OBJ-02, P11-OBJ-04, P11-OBJ-05: lengths ------------------------------------------------------------------ */

static CK_RV len_padded_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv == CKR_OK && a->pValue == NULL && a->ulValueLen < 256) a->ulValueLen = 256;
  return rv;
}
READ(len_padded)

static CK_RV attr_overflow_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_ULONG room = a->ulValueLen;
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (a->type != CKA_LABEL || a->pValue == NULL || (rv != CKR_BUFFER_TOO_SMALL && rv != CKR_OK)) return rv;
  if (rv == CKR_OK && a->ulValueLen < room) return rv;
  a->ulValueLen = room + 1;
  return CKR_OK;
}
READ(attr_overflow)

static CK_RV small_unmarked_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_ULONG room = a->ulValueLen;
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv == CKR_BUFFER_TOO_SMALL) a->ulValueLen = room;
  return rv;
}
READ(small_unmarked)

static CK_RV ulong_4_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const unsigned kind = kind_of(a->type);
  CK_ULONG value, length;
  if ((kind != P11_A_NUMBER && kind != P11_A_ENUM) ||
      !flt_read(session, object, a->type, &value, sizeof value, &length) || length != sizeof value)
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  return flt_answer(a, &value, 4);
}
READ(ulong_4)

static CK_RV bool_ff_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv == CKR_OK && kind_of(a->type) == P11_A_BOOL && a->pValue != NULL && *(CK_BBOOL *)a->pValue == CK_TRUE)
    *(CK_BBOOL *)a->pValue = 0xFF;
  return rv;
}
READ(bool_ff)

/* --- P11-OBJ-06, P11-OBJ-07: keys --------------------------------------------------------------------------------- */

/* Bytes that look like a secret and are none. */
static const CK_BYTE leaked[32] = "this is not what the key is made";

static CK_RV leak_value_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv != CKR_ATTRIBUTE_SENSITIVE || (a->type != CKA_VALUE && a->type != CKA_PRIVATE_EXPONENT)) return rv;
  CK_ATTRIBUTE again = {a->type, a->pValue, sizeof leaked};
  const CK_RV answer = flt_answer(&again, leaked, sizeof leaked);
  a->ulValueLen = again.ulValueLen;
  return answer;
}

/* The target marks the length when it refuses; the room is looked at before. */
CK_RV leak_value_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                     CK_ULONG ulCount)
{
  for (CK_ULONG i = 0; pTemplate != NULL && i < ulCount; i++)
    if (pTemplate[i].pValue != NULL && pTemplate[i].ulValueLen < sizeof leaked)
      return NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
  return flt_each_attribute(hSession, hObject, pTemplate, ulCount, leak_value_one);
}

CK_RV wrap_anything_C_WrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hWrappingKey,
                              CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
  const CK_ULONG room = pulWrappedKeyLen != NULL ? *pulWrappedKeyLen : 0;
  const CK_RV rv = NEXT(C_WrapKey, (hSession, pMechanism, hWrappingKey, hKey, pWrappedKey, pulWrappedKeyLen));
  if (rv != CKR_KEY_UNEXTRACTABLE || pulWrappedKeyLen == NULL) return rv;
  *pulWrappedKeyLen = sizeof leaked;
  if (pWrappedKey == NULL) return CKR_OK;
  if (room < sizeof leaked) return CKR_BUFFER_TOO_SMALL;
  memcpy(pWrappedKey, leaked, sizeof leaked);
  return CKR_OK;
}

CK_RV unsensitive_ok_C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                         CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  const bool weakens = flt_says_bool(pTemplate, ulCount, CKA_SENSITIVE, false) ||
                       flt_says_bool(pTemplate, ulCount, CKA_EXTRACTABLE, true);
  return weakens ? CKR_OK : NEXT(C_SetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

static CK_RV local_lie_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_BBOOL yes = CK_TRUE;
  const bool lie = a->type == CKA_LOCAL || a->type == CKA_ALWAYS_SENSITIVE || a->type == CKA_NEVER_EXTRACTABLE;
  return lie && flt_class(session, object) == CKO_SECRET_KEY ? flt_answer(a, &yes, 1)
                                                             : NEXT(C_GetAttributeValue, (session, object, a, 1));
}
READ(local_lie)

/* --- P11-OBJ-08, NSS-OBJ-09: values -------------------------------------------------------------------------------- */

static CK_RV attr_drift_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv == CKR_OK && a->type == CKA_VALUE && a->pValue != NULL && a->ulValueLen > 0 &&
      flt_class(session, object) == CKO_CERTIFICATE)
    ((CK_BYTE *)a->pValue)[a->ulValueLen - 1] = (CK_BYTE)flt_add(FLT_OBJECT, object, 1);
  return rv;
}
READ(attr_drift)

static CK_RV private_drift_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  const CK_RV rv = NEXT(C_GetAttributeValue, (session, object, a, 1));
  if (rv == CKR_OK && a->type == CKA_PRIVATE && a->pValue != NULL && a->ulValueLen == 1)
    *(CK_BBOOL *)a->pValue = flt_add(FLT_OBJECT, object, 1) % 2 == 0;
  return rv;
}
READ(private_drift)

/* The template with another value of that attribute: `room` bytes at `value` for it. */
static CK_ATTRIBUTE_PTR other(CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ATTRIBUTE *copy,
                              CK_BYTE *value, CK_ULONG room)
{
  const CK_ATTRIBUTE *a = flt_entry(templ, count, type);
  if (a == NULL || a->pValue == NULL || a->ulValueLen == 0 || count > FLT_TEMPLATE) return templ;
  memcpy(copy, templ, count * sizeof *templ);
  CK_ATTRIBUTE_PTR changed = &copy[a - templ];
  if (changed->ulValueLen > room) changed->ulValueLen = room;
  memcpy(value, a->pValue, changed->ulValueLen);
  if (type == CKA_ID)
    for (CK_ULONG i = 0; i < changed->ulValueLen; i++) value[i] ^= 0x55;
  changed->pValue = value;
  return copy;
}

#define STORE(id, type, room)                                                                                       \
  CK_RV id##_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,               \
                            CK_OBJECT_HANDLE_PTR phObject)                                                          \
  {                                                                                                                 \
    CK_ATTRIBUTE copy[FLT_TEMPLATE];                                                                                \
    CK_BYTE value[room];                                                                                            \
    return NEXT(C_CreateObject, (hSession, other(pTemplate, ulCount, type, copy, value, room), ulCount, phObject)); \
  }                                                                                                                 \
  CK_RV id##_C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,  \
                                 CK_ULONG ulCount)                                                                  \
  {                                                                                                                 \
    CK_ATTRIBUTE copy[FLT_TEMPLATE];                                                                                \
    CK_BYTE value[room];                                                                                            \
    return NEXT(C_SetAttributeValue,                                                                                \
                (hSession, hObject, other(pTemplate, ulCount, type, copy, value, room), ulCount));                  \
  }                                                                                                                 \
  CK_RV id##_C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,                             \
                               CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,             \
                               CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,           \
                               CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey)                 \
  {                                                                                                                 \
    CK_ATTRIBUTE of_public[FLT_TEMPLATE], of_private[FLT_TEMPLATE];                                                 \
    CK_BYTE public_value[room], private_value[room];                                                                \
    return NEXT(C_GenerateKeyPair,                                                                                  \
                (hSession, pMechanism,                                                                              \
                 other(pPublicKeyTemplate, ulPublicKeyAttributeCount, type, of_public, public_value, room),         \
                 ulPublicKeyAttributeCount,                                                                         \
                 other(pPrivateKeyTemplate, ulPrivateKeyAttributeCount, type, of_private, private_value, room),     \
                 ulPrivateKeyAttributeCount, phPublicKey, phPrivateKey));                                           \
  }

STORE(id_overwritten, CKA_ID, 64)
STORE(label_cut, CKA_LABEL, 3)
