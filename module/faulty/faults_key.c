/* Faults of keys: what is read of them, how they are generated and imported. */
#include "faulty/faulty.h"

#define READ(id)                                                                                                   \
  CK_RV id##_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate, \
                                 CK_ULONG ulCount)                                                                 \
  {                                                                                                                \
    return flt_each_attribute(hSession, hObject, pTemplate, ulCount, id##_one);                                    \
  }

static bool of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a, CK_ATTRIBUTE_TYPE type,
               CK_OBJECT_CLASS class)
{
  return a->type == type && flt_class(session, object) == class;
}

static CK_RV refuse_private(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a,
                            CK_ATTRIBUTE_TYPE type, CK_RV code)
{
  return of(session, object, a, type, CKO_PRIVATE_KEY) ? flt_refuse(a, code)
                                                       : NEXT(C_GetAttributeValue, (session, object, a, 1));
}

static CK_RV false_private(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a,
                           CK_ATTRIBUTE_TYPE type)
{
  const CK_BBOOL no = CK_FALSE;
  return of(session, object, a, type, CKO_PRIVATE_KEY) ? flt_answer(a, &no, sizeof no)
                                                       : NEXT(C_GetAttributeValue, (session, object, a, 1));
}

/* --- NSS-KEY-01 --------------------------------------------------------------------------------------------------- */

static CK_RV no_modulus_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return refuse_private(session, object, a, CKA_MODULUS, CKR_ATTRIBUTE_SENSITIVE);
}
READ(no_modulus)

static CK_RV no_key_type_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return refuse_private(session, object, a, CKA_KEY_TYPE, CKR_ATTRIBUTE_TYPE_INVALID);
}
READ(no_key_type)

/* --- NSS-KEY-02 --------------------------------------------------------------------------------------------------- */

CK_RV swap_handles_C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                     CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
                                     CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
                                     CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey)
{
  return NEXT(C_GenerateKeyPair, (hSession, pMechanism, pPublicKeyTemplate, ulPublicKeyAttributeCount,
                                  pPrivateKeyTemplate, ulPrivateKeyAttributeCount, phPrivateKey, phPublicKey));
}

static CK_RV no_usage_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return false_private(session, object, a, CKA_SIGN);
}
READ(no_usage)

/* --- NSS-KEY-03 --------------------------------------------------------------------------------------------------- */

CK_RV id_readonly_C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                                      CK_ULONG ulCount)
{
  return flt_entry(pTemplate, ulCount, CKA_ID) != NULL
             ? CKR_ATTRIBUTE_READ_ONLY
             : NEXT(C_SetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

/* --- NSS-KEY-04 --------------------------------------------------------------------------------------------------- */

static bool generates(CK_MECHANISM_TYPE type)
{
  return type == CKM_RSA_PKCS_KEY_PAIR_GEN || type == CKM_RSA_X9_31_KEY_PAIR_GEN || type == CKM_EC_KEY_PAIR_GEN ||
         type == CKM_DSA_KEY_PAIR_GEN;
}

CK_RV no_keygen_mech_C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList, CK_ULONG_PTR pulCount)
{
  enum { ROOM = 1024 };
  CK_MECHANISM_TYPE list[ROOM];
  CK_ULONG count = ROOM, left = 0;
  const CK_RV rv = NEXT(C_GetMechanismList, (slotID, list, &count));
  if (rv != CKR_OK || pulCount == NULL) return NEXT(C_GetMechanismList, (slotID, pMechanismList, pulCount));
  for (CK_ULONG i = 0; i < count; i++)
    if (!generates(list[i])) list[left++] = list[i];
  const CK_ULONG room = *pulCount;
  *pulCount = left;
  if (pMechanismList == NULL) return CKR_OK;
  if (room < left) return CKR_BUFFER_TOO_SMALL;
  memcpy(pMechanismList, list, left * sizeof *list);
  return CKR_OK;
}

CK_RV no_keygen_mech_C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
  return generates(type) ? CKR_MECHANISM_INVALID : NEXT(C_GetMechanismInfo, (slotID, type, pInfo));
}

CK_RV no_keygen_mech_C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                       CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
                                       CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
                                       CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey)
{
  if (pMechanism != NULL && generates(pMechanism->mechanism)) return CKR_MECHANISM_INVALID;
  return NEXT(C_GenerateKeyPair, (hSession, pMechanism, pPublicKeyTemplate, ulPublicKeyAttributeCount,
                                  pPrivateKeyTemplate, ulPrivateKeyAttributeCount, phPublicKey, phPrivateKey));
}

CK_RV no_import_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                               CK_OBJECT_HANDLE_PTR phObject)
{
  return flt_says(pTemplate, ulCount, CKA_CLASS, CKO_PRIVATE_KEY)
             ? CKR_TEMPLATE_INCONSISTENT
             : NEXT(C_CreateObject, (hSession, pTemplate, ulCount, phObject));
}

/* --- NSS-KEY-05 --------------------------------------------------------------------------------------------------- */

/* The point of an EC key without its DER header; false if it is none. */
static bool read_point(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_BYTE *point, CK_ULONG room,
                       CK_ULONG *length)
{
  if (!flt_read(session, object, CKA_EC_POINT, point, room, length) || *length < 4 || point[0] != 4) return false;
  const CK_ULONG head = point[1] < 0x80 ? 2 : 3;
  *length -= head;
  memmove(point, point + head, *length);
  return point[0] == 4;
}

static CK_RV raw_ecpoint_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  CK_BYTE point[256];
  CK_ULONG length;
  if (a->type != CKA_EC_POINT || !read_point(session, object, point, sizeof point, &length))
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  return flt_answer(a, point, length);
}
READ(raw_ecpoint)

static CK_RV compressed_ecpoint_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  CK_BYTE point[256];
  CK_ULONG length;
  if (a->type != CKA_EC_POINT || !read_point(session, object, point + 2, sizeof point - 2, &length))
    return NEXT(C_GetAttributeValue, (session, object, a, 1));
  const CK_ULONG x = (length - 1) / 2;
  point[2] = 2 + (point[2 + length - 1] & 1);
  point[0] = 4;
  point[1] = (CK_BYTE)(1 + x);
  return flt_answer(a, point, 2 + 1 + x);
}
READ(compressed_ecpoint)

static CK_RV bad_ecparams_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return of(session, object, a, CKA_EC_PARAMS, CKO_PUBLIC_KEY) ? flt_answer(a, "P-256", 5)
                                                               : NEXT(C_GetAttributeValue, (session, object, a, 1));
}
READ(bad_ecparams)

/* --- NSS-KEY-06 --------------------------------------------------------------------------------------------------- */

static CK_ULONG sum(const CK_BYTE *bytes, CK_ULONG length)
{
  CK_ULONG sum = 1;
  while (length-- > 0) sum = sum * 31 + *bytes++;
  return sum;
}

CK_RV wrong_pair_C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  CK_ATTRIBUTE other[FLT_TEMPLATE];
  const CK_ATTRIBUTE *id = flt_entry(pTemplate, ulCount, CKA_ID);
  flt_set(FLT_SESSION, hSession, 0);
  if (id == NULL || ulCount > FLT_TEMPLATE || !flt_says(pTemplate, ulCount, CKA_CLASS, CKO_PRIVATE_KEY))
    return NEXT(C_FindObjectsInit, (hSession, pTemplate, ulCount));
  const CK_ULONG left = flt_without(pTemplate, ulCount, CKA_ID, other);
  const CK_RV rv = NEXT(C_FindObjectsInit, (hSession, other, left));
  if (rv == CKR_OK) flt_set(FLT_SESSION, hSession, sum(id->pValue, id->ulValueLen));
  return rv;
}

static bool has_another_id(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  CK_BYTE id[256];
  CK_ULONG length;
  return flt_read(session, object, CKA_ID, id, sizeof id, &length) && sum(id, length) != flt_get(FLT_SESSION, session);
}

CK_RV wrong_pair_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject, CK_ULONG ulMaxObjectCount,
                               CK_ULONG_PTR pulObjectCount)
{
  return flt_get(FLT_SESSION, hSession) == 0
             ? NEXT(C_FindObjects, (hSession, phObject, ulMaxObjectCount, pulObjectCount))
             : flt_find_only(hSession, phObject, ulMaxObjectCount, pulObjectCount, has_another_id);
}

/* --- NSS-KEY-09 --------------------------------------------------------------------------------------------------- */

static CK_RV no_token_attr_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return refuse_private(session, object, a, CKA_TOKEN, CKR_ATTRIBUTE_TYPE_INVALID);
}
READ(no_token_attr)

static CK_RV token_attr_false_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  return false_private(session, object, a, CKA_TOKEN);
}
READ(token_attr_false)
