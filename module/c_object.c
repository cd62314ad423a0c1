/* Objects: C_CreateObject, C_CopyObject, C_DestroyObject, C_GetObjectSize, C_GetAttributeValue, C_SetAttributeValue. */
#include "auth/auth.h"
#include "core/entry.h"
#include "core/slots.h"
#include "object/attr_values.h"
#include "object/making.h"
#include "object/object_pool.h"
#include "object/object_rows.h"
#include "store/store.h"

CK_RV tok_C_CreateObject(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate,
                         CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phObject)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  (void)hSession;
  CK_RV rv = tok_template_read(session, TOK_CREATE, CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, pTemplate,
                               ulCount, &attrs);
  return rv == CKR_OK ? tok_object_add(session, TOK_CREATE, CK_UNAVAILABLE_INFORMATION, NULL, &attrs, phObject) : rv;
}

CK_RV tok_C_CopyObject(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                       CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phNewObject)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  struct tok_object *object;
  (void)hSession;
  CK_RV rv = tok_object_get(session, hObject, &object);
  if (rv != CKR_OK) return rv;
  if (!tok_attrs_bool(&object->attrs, CKA_COPYABLE, true)) rv = CKR_ACTION_PROHIBITED;
  /* What is sealed cannot be copied without a login. */
  else if (object->sealed)
    rv = CKR_USER_NOT_LOGGED_IN;
  else
    rv = tok_template_apply(session, object, true, pTemplate, ulCount, &attrs);
  if (rv == CKR_OK) rv = tok_object_add(session, TOK_COPY, CK_UNAVAILABLE_INFORMATION, object, &attrs, phNewObject);
  tok_object_unref(object);
  return rv;
}

CK_RV tok_C_DestroyObject(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject)
{
  struct tok_object *object;
  (void)hSession;
  CK_RV rv = tok_object_get(session, hObject, &object);
  if (rv != CKR_OK) return rv;
  rv = tok_session_may_write(session, object->token, object->private);
  if (rv == CKR_OK && !tok_attrs_bool(&object->attrs, CKA_DESTROYABLE, true)) rv = CKR_ACTION_PROHIBITED;
  if (rv == CKR_OK && !object->token) {
    rv = tok_held_destroy(session->slot, hObject);
  } else if (rv == CKR_OK) {
    rv = tok_store_delete(atomic_load(&session->slot->store), tok_auth_epoch(session->slot), object->row);
    tok_cache_drop(session->slot, object->row);
  }
  tok_object_unref(object);
  return rv;
}

/* The bytes of all values with their types and lengths, as they are stored. */
CK_RV tok_C_GetObjectSize(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                          CK_ULONG_PTR pulSize)
{
  struct tok_object *object;
  (void)hSession;
  CK_RV rv = tok_object_get(session, hObject, &object);
  if (rv != CKR_OK) return rv;
  CK_ULONG size = 0;
  for (size_t i = 0; i < object->attrs.count; i++) size += 12 + object->attrs.list[i].len;
  *pulSize = size;
  tok_object_unref(object);
  return CKR_OK;
}

/* PKCS #11 3.2, C_GetAttributeValue, cases 1 to 5. Of several codes that apply any may be returned; the sooner case
 * wins. */
CK_RV tok_C_GetAttributeValue(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                              CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  struct tok_object *object;
  bool sensitive = false, missing = false, small = false;
  (void)hSession;
  CK_RV rv = tok_object_get(session, hObject, &object);
  bool got = rv == CKR_OK;
  for (CK_ULONG i = 0; i < ulCount && rv == CKR_OK; i++) {
    CK_ULONG len;
    const CK_BYTE *value = tok_attrs_get(&object->attrs, pTemplate[i].type, &len);
    bool hidden = tok_attr_hidden(object->kind, &object->attrs, pTemplate[i].type) ||
                  (object->sealed && tok_attr_is_secret(object->kind, pTemplate[i].type) &&
                   tok_rule_find(object->kind, pTemplate[i].type) != NULL);
    if (hidden || value == NULL) {
      pTemplate[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
      if (hidden)
        sensitive = true;
      else
        missing = true;
      continue;
    }
    rv = tok_value_give(pTemplate[i].type, value, len, &pTemplate[i]);
    if (rv == CKR_BUFFER_TOO_SMALL) {
      small = true;
      rv = CKR_OK;
    }
  }
  if (got) tok_object_unref(object);
  if (rv != CKR_OK) return rv;
  if (sensitive) return CKR_ATTRIBUTE_SENSITIVE;
  if (missing) return CKR_ATTRIBUTE_TYPE_INVALID;
  return small ? CKR_BUFFER_TOO_SMALL : CKR_OK;
}

/* A new version of the object. */
static CK_RV replace(struct tok_session *session, struct tok_object *object, struct tok_attrs *attrs)
{
  struct tok_slot *slot = session->slot;
  if (object->token) {
    struct tok_row row;
    CK_RV rv = tok_row_make(slot, attrs, &row);
    row.id = object->row;
    row.version = object->version;
    if (rv == CKR_OK) rv = tok_store_update(atomic_load(&slot->store), tok_auth_epoch(slot), &row);
    tok_row_clear(&row);
    tok_cache_drop(slot, object->row);
    tok_attrs_clear(attrs);
    return rv;
  }
  struct tok_object *fresh = tok_object_new(slot, attrs);
  if (fresh == NULL) return CKR_HOST_MEMORY;
  fresh->handle = object->handle;
  fresh->owner = object->owner;
  return tok_held_replace(object, fresh);
}

static CK_RV set_once(struct tok_session *session, CK_OBJECT_HANDLE handle, const CK_ATTRIBUTE *templ, CK_ULONG count)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  struct tok_object *object;
  CK_RV rv = tok_object_get(session, handle, &object);
  if (rv != CKR_OK) return rv;
  rv = tok_session_may_write(session, object->token, object->private);
  if (rv == CKR_OK && !tok_attrs_bool(&object->attrs, CKA_MODIFIABLE, true)) rv = CKR_ACTION_PROHIBITED;
  /* The open part of a sealed object is sealed with the rest of it. */
  if (rv == CKR_OK && object->sealed) rv = CKR_USER_NOT_LOGGED_IN;
  if (rv == CKR_OK) rv = tok_template_apply(session, object, false, templ, count, &attrs);
  if (rv == CKR_OK) rv = replace(session, object, &attrs);
  tok_object_unref(object);
  return rv;
}

/* All or nothing. Somebody else may change the object at the same time: then ours is applied to what he made of it. */
CK_RV tok_C_SetAttributeValue(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                              CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount)
{
  (void)hSession;
  CK_RV rv = CKR_FUNCTION_FAILED;
  for (unsigned tries = 0; tries < 20 && rv == CKR_FUNCTION_FAILED; tries++)
    rv = set_once(session, hObject, pTemplate, ulCount);
  return rv;
}
