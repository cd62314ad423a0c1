/* From complete attributes to a published object. */
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/sessions.h"
#include "core/slots.h"
#include "crypto/pkey.h"
#include "object/making.h"
#include "object/object_pool.h"
#include "object/object_rows.h"
#include "store/store.h"

/* --- what the token sets ------------------------------------------------------------------------------------- */

/* Sensitivity and origin (PKCS #11 3.2, "Private key objects", "Secret key objects", "Key objects"): a key has
 * always been sensitive and never extractable only if it was made here, or derived here from one that had. */
static CK_RV set_history(struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_origin origin,
                         CK_MECHANISM_TYPE mechanism, const struct tok_object *base)
{
  bool sensitive = tok_attrs_bool(attrs, CKA_SENSITIVE, false);
  bool extractable = tok_attrs_bool(attrs, CKA_EXTRACTABLE, true);
  bool always = false, never = false, local = origin == TOK_GENERATE;
  CK_RV rv = CKR_OK;
  if (origin == TOK_COPY) return CKR_OK; /* goes with the copied attributes */
  if (origin == TOK_GENERATE) {
    always = sensitive;
    never = !extractable;
  } else if (origin == TOK_DERIVE && base != NULL) {
    always = sensitive && tok_attrs_bool(&base->attrs, CKA_ALWAYS_SENSITIVE, false);
    never = !extractable && tok_attrs_bool(&base->attrs, CKA_NEVER_EXTRACTABLE, false);
  }
  if (tok_rule_find(kind, CKA_LOCAL) != NULL) rv = tok_attrs_set_bool(attrs, CKA_LOCAL, local);
  if (rv == CKR_OK && tok_rule_find(kind, CKA_KEY_GEN_MECHANISM) != NULL)
    rv = tok_attrs_set_ulong(attrs, CKA_KEY_GEN_MECHANISM, local ? mechanism : CK_UNAVAILABLE_INFORMATION);
  if (kind->class != CKO_PRIVATE_KEY && kind->class != CKO_SECRET_KEY) return rv;
  if (rv == CKR_OK) rv = tok_attrs_set_bool(attrs, CKA_ALWAYS_SENSITIVE, always);
  if (rv == CKR_OK) rv = tok_attrs_set_bool(attrs, CKA_NEVER_EXTRACTABLE, never);
  return rv;
}

/* A session object's is made of its handle and a number of this process: it need not be hard to guess, and random bytes
 * would cost more than the rest of the object. */
static CK_RV set_unique_id(struct tok_attrs *attrs, bool token, CK_OBJECT_HANDLE handle)
{
  static _Atomic uint64_t process;
  uint8_t uuid[16];
  char text[37];
  if (token || atomic_load(&process) == 0) {
    if (RAND_bytes_ex(tok_module->crypto, uuid, sizeof uuid, 0) != 1) return CKR_FUNCTION_FAILED;
    uint64_t none = 0, number;
    memcpy(&number, uuid, sizeof number);
    if (!token) atomic_compare_exchange_strong(&process, &none, number);
  }
  if (!token) {
    uint64_t number = atomic_load(&process);
    memcpy(uuid, &number, 8);
    /* The end first: the bits that are overwritten below stay free. */
    for (size_t i = 0; i < 8; i++) uuid[15 - i] = (uint8_t)(handle >> (8 * i));
  }
  uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80); /* version 8: our own way (RFC 9562) */
  uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
  tok_uuid_text(uuid, text);
  return tok_attrs_set(attrs, CKA_UNIQUE_ID, text, 36);
}

/* Everything up to the object itself. */
static CK_RV complete(struct tok_session *session, enum tok_origin origin, CK_MECHANISM_TYPE mechanism,
                      const struct tok_object *base, struct tok_attrs *attrs)
{
  const struct tok_kind *kind = tok_kind_of(attrs);
  if (kind == NULL || (tok_class_type_attribute(kind->class) != 0 && kind->type == CK_UNAVAILABLE_INFORMATION))
    return CKR_TEMPLATE_INCOMPLETE;
  CK_RV rv = base != NULL ? tok_template_impose(attrs, origin, base) : CKR_OK;
  if (rv == CKR_OK) rv = tok_defaults_fill(attrs, kind, origin);
  if (rv == CKR_OK) rv = tok_attrs_consistent(session, attrs);
  if (rv == CKR_OK && origin != TOK_COPY) rv = tok_certificate_complete(attrs);
  if (rv == CKR_OK && origin != TOK_COPY) rv = tok_domain_complete(attrs);
  if (rv == CKR_OK && origin != TOK_COPY && tok_kind_is_key(kind)) rv = tok_material_complete(attrs);
  if (rv == CKR_OK) rv = tok_footnote_present(attrs, kind, F1);
  tok_attrs_remove(attrs, TOK_TOLD);
  if (rv == CKR_OK) rv = set_history(attrs, kind, origin, mechanism, base);
  bool token = tok_attrs_bool(attrs, CKA_TOKEN, false);
  if (rv == CKR_OK) rv = tok_session_may_write(session, token, tok_attrs_bool(attrs, CKA_PRIVATE, false));
  return rv;
}

/* --- publishing ---------------------------------------------------------------------------------------------- */

/* An object on its way. */
struct newborn {
  struct tok_object *object;
  struct tok_held *held; /* of a session object */
  struct tok_row row;    /* of a token object */
};

static CK_RV prepare(struct tok_session *session, struct tok_attrs *attrs, struct newborn *new)
{
  bool token = tok_attrs_bool(attrs, CKA_TOKEN, false);
  CK_OBJECT_HANDLE handle = token ? 0 : tok_session_handle(tok_attrs_bool(attrs, CKA_PRIVATE, false));
  CK_RV rv = set_unique_id(attrs, token, handle);
  if (rv == CKR_OK && token) rv = tok_row_make(session->slot, attrs, &new->row);
  if (rv == CKR_OK && !token && (new->held = tok_held_new()) == NULL) rv = CKR_HOST_MEMORY;
  if (rv != CKR_OK) return rv;
  new->object = tok_object_new(session->slot, attrs);
  if (new->object == NULL) return CKR_HOST_MEMORY;
  new->object->handle = handle;
  new->object->owner = token ? 0 : session->handle;
  return CKR_OK;
}

/* All rows or none. */
static CK_RV store_rows(struct tok_slot *slot, struct newborn *new, size_t count)
{
  struct tok_store *store = atomic_load(&slot->store);
  struct tok_row *rows[2];
  size_t tokens = 0;
  for (size_t i = 0; i < count; i++)
    if (new[i].held == NULL) rows[tokens++] = &new[i].row;
  if (tokens == 0) return CKR_OK;
  return store != NULL ? tok_store_insert(store, tok_auth_epoch(slot), rows, tokens) : CKR_TOKEN_NOT_PRESENT;
}

/* A token object is published by its row; the cache gets it at once, because whoever made it reads it next. */
static void publish_row(struct newborn *new, uint64_t generation)
{
  struct tok_object *object = new->object;
  object->row = new->row.id;
  object->version = new->row.version;
  object->handle = tok_token_handle(object->slot, object->row, object->private, generation);
  tok_cache_put(object, TOK_NEVER, generation, new->row.sealed_len > 0);
}

/* Up to two objects, all or none. Session objects are published first, because they can be taken back. */
static CK_RV add(struct tok_session *session, struct tok_attrs *const *attrs, size_t count, enum tok_origin origin,
                 CK_MECHANISM_TYPE mechanism, const struct tok_object *base, CK_OBJECT_HANDLE *const *handles)
{
  struct newborn new[2] = {{0}, {0}};
  CK_OBJECT_HANDLE made[2] = {0, 0};
  uint64_t generation = tok_auth_generation(session->slot);
  CK_RV rv = CKR_OK;
  for (size_t i = 0; i < count && rv == CKR_OK; i++) rv = complete(session, origin, mechanism, base, attrs[i]);
  for (size_t i = 0; i < count && rv == CKR_OK; i++) rv = prepare(session, attrs[i], &new[i]);
  for (size_t i = 0; i < count && rv == CKR_OK; i++) {
    if (new[i].held == NULL) continue;
    tok_object_ref(new[i].object); /* one for the table */
    rv = tok_held_publish(new[i].held, new[i].object, generation);
    if (rv == CKR_OK)
      made[i] = new[i].object->handle;
    else
      tok_object_unref(new[i].object);
  }
  if (rv == CKR_OK) rv = store_rows(session->slot, new, count);
  for (size_t i = 0; i < count; i++) {
    if (rv == CKR_OK && made[i] == 0) publish_row(&new[i], generation);
    if (rv == CKR_OK) *handles[i] = new[i].object->handle;
    if (rv != CKR_OK && made[i] != 0) tok_held_destroy(session->slot, made[i]);
    if (made[i] == 0) free(new[i].held);
    tok_row_clear(&new[i].row);
    tok_object_unref(new[i].object);
    tok_attrs_clear(attrs[i]);
  }
  return rv;
}

CK_RV tok_object_add(struct tok_session *session, enum tok_origin origin, CK_MECHANISM_TYPE mechanism,
                     const struct tok_object *base, struct tok_attrs *attrs, CK_OBJECT_HANDLE *handle)
{
  return add(session, &attrs, 1, origin, mechanism, base, &handle);
}

CK_RV tok_object_add_pair(struct tok_session *session, CK_MECHANISM_TYPE mechanism, struct tok_attrs *public_attrs,
                          struct tok_attrs *private_attrs, CK_OBJECT_HANDLE *public_handle,
                          CK_OBJECT_HANDLE *private_handle)
{
  struct tok_attrs *const attrs[2] = {public_attrs, private_attrs};
  CK_OBJECT_HANDLE *const handles[2] = {public_handle, private_handle};
  return add(session, attrs, 2, TOK_GENERATE, mechanism, NULL, handles);
}
