/* Faults of handles of objects. */
#include "faulty/faulty.h"

/* --- NSS-OBJ-01: objects of one session --------------------------------------------------------------------------- */

/* FLT_OBJECT: the session that made it. */
static CK_RV keep_maker(CK_RV rv, CK_SESSION_HANDLE session, const CK_OBJECT_HANDLE *object)
{
  if (rv == CKR_OK && object != NULL) flt_set(FLT_OBJECT, *object, session);
  return rv;
}

static bool is_hidden(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  struct flt_session maker;
  const CK_ULONG by = flt_get(FLT_OBJECT, object);
  return by != 0 && by != session && flt_session(by, &maker);
}

static bool is_shown(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  return !is_hidden(session, object);
}

CK_RV per_session_objects_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                                         CK_OBJECT_HANDLE_PTR phObject)
{
  return keep_maker(NEXT(C_CreateObject, (hSession, pTemplate, ulCount, phObject)), hSession, phObject);
}

CK_RV per_session_objects_C_GenerateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                        CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey)
{
  return keep_maker(NEXT(C_GenerateKey, (hSession, pMechanism, pTemplate, ulCount, phKey)), hSession, phKey);
}

CK_RV per_session_objects_C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                            CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
                                            CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
                                            CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey)
{
  const CK_RV rv =
      NEXT(C_GenerateKeyPair, (hSession, pMechanism, pPublicKeyTemplate, ulPublicKeyAttributeCount, pPrivateKeyTemplate,
                               ulPrivateKeyAttributeCount, phPublicKey, phPrivateKey));
  keep_maker(rv, hSession, phPublicKey);
  return keep_maker(rv, hSession, phPrivateKey);
}

CK_RV per_session_objects_C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                      CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey,
                                      CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
                                      CK_OBJECT_HANDLE_PTR phKey)
{
  return keep_maker(NEXT(C_UnwrapKey, (hSession, pMechanism, hUnwrappingKey, pWrappedKey, ulWrappedKeyLen, pTemplate,
                                       ulAttributeCount, phKey)),
                    hSession, phKey);
}

CK_RV per_session_objects_C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                              CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return is_hidden(hSession, hObject) ? CKR_OBJECT_HANDLE_INVALID
                                      : NEXT(C_GetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

CK_RV per_session_objects_C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                                              CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  return is_hidden(hSession, hObject) ? CKR_OBJECT_HANDLE_INVALID
                                      : NEXT(C_SetAttributeValue, (hSession, hObject, pTemplate, ulCount));
}

CK_RV per_session_objects_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return is_hidden(hSession, hKey) ? CKR_KEY_HANDLE_INVALID : NEXT(C_SignInit, (hSession, pMechanism, hKey));
}

CK_RV per_session_objects_C_EncryptInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return is_hidden(hSession, hKey) ? CKR_KEY_HANDLE_INVALID : NEXT(C_EncryptInit, (hSession, pMechanism, hKey));
}

CK_RV per_session_objects_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
                                        CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount)
{
  return flt_find_only(hSession, phObject, ulMaxObjectCount, pulObjectCount, is_shown);
}

/* --- P11-OBJ-10: how long a handle is good ------------------------------------------------------------------------ */

CK_RV destroy_nothing_C_DestroyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject)
{
  (void)hSession;
  (void)hObject;
  return CKR_OK;
}

CK_RV create_zero_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                                 CK_OBJECT_HANDLE_PTR phObject)
{
  const CK_RV rv = NEXT(C_CreateObject, (hSession, pTemplate, ulCount, phObject));
  if (rv == CKR_OK && phObject != NULL) *phObject = 0;
  return rv;
}

/* Handles of new objects, from this number on; FLT_OBJECT: the target's. */
#define FIRST 0x5000001

CK_RV handle_recycle_obj_C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                                        CK_OBJECT_HANDLE_PTR phObject)
{
  const CK_RV rv = NEXT(C_CreateObject, (hSession, pTemplate, ulCount, phObject));
  if (rv != CKR_OK || phObject == NULL) return rv;
  CK_ULONG number = FIRST;
  while (!flt_claim(FLT_OBJECT, number, *phObject)) number++;
  *phObject = number;
  return rv;
}

CK_RV handle_recycle_obj_C_DestroyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject)
{
  const CK_ULONG handle = flt_get(FLT_OBJECT, hObject);
  const CK_RV rv = NEXT(C_DestroyObject, (hSession, handle != 0 ? handle : hObject));
  if (rv == CKR_OK) flt_set(FLT_OBJECT, hObject, 0);
  return rv;
}

CK_RV handle_recycle_obj_C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
                                       CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount)
{
  const CK_RV rv = NEXT(C_FindObjects, (hSession, phObject, ulMaxObjectCount, pulObjectCount));
  for (CK_ULONG i = 0; rv == CKR_OK && i < *pulObjectCount; i++) {
    size_t place = 0;
    CK_ULONG number;
    if (flt_each_kept(FLT_OBJECT, phObject[i], &place, &number)) phObject[i] = number;
  }
  return rv;
}

CK_RV handle_recycle_obj_ANY(struct flt_call *call)
{
  const struct p11_function_info *f = &p11_functions[call->function];
  for (unsigned i = 0; i < f->arity; i++) {
    if (f->param[i].kind != P11_K_OBJECT && f->param[i].kind != P11_K_KEY) continue;
    const CK_ULONG handle = flt_get(FLT_OBJECT, call->arg[i]);
    if (handle != 0) call->arg[i] = handle;
  }
  return flt_go_on(call);
}
