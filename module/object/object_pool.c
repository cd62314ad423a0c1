/* Session objects, and the life of objects. */
#include "object/object_pool.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/sessions.h"
#include "core/slots.h"
#include "crypto/park.h"
#include "object/kinds.h"

/* --- objects ------------------------------------------------------------------------------------------------- */

struct tok_object *tok_object_new(struct tok_slot *slot, struct tok_attrs *attrs)
{
  struct tok_object *object = tok_alloc(sizeof *object);
  const struct tok_kind *kind = tok_kind_of(attrs);
  if (object == NULL || kind == NULL) {
    free(object);
    tok_attrs_clear(attrs);
    return NULL;
  }
  atomic_init(&object->refs, 1);
  object->slot = slot;
  object->kind = kind;
  object->class = kind->class;
  object->key_type = tok_kind_is_key(kind) ? kind->type : CK_UNAVAILABLE_INFORMATION;
  object->token = tok_attrs_bool(attrs, CKA_TOKEN, false);
  object->private = tok_attrs_bool(attrs, CKA_PRIVATE, false);
  object->attrs = *attrs;
  *attrs = (struct tok_attrs)TOK_ATTRS_EMPTY;
  return object;
}

void tok_object_ref(struct tok_object *object)
{
  atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
}

void tok_object_unref(struct tok_object *object)
{
  if (object == NULL || atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) != 1) return;
  tok_park_clear(object);
  EVP_PKEY_free(atomic_load(&object->pkey));
  tok_attrs_clear(&object->attrs);
  tok_wipe_free(object, sizeof *object);
}

/* --- handles ------------------------------------------------------------------------------------------------- */

#define ROW_SHIFT 2
#define STAMP_SHIFT 34
#define GENERATION_SHIFT 42
#define ROW_MASK (((CK_OBJECT_HANDLE)1 << (STAMP_SHIFT - ROW_SHIFT)) - 1)
#define STAMP_MASK 0xffu
#define GENERATION_MASK (((CK_OBJECT_HANDLE)1 << (64 - GENERATION_SHIFT)) - 1)

CK_OBJECT_HANDLE tok_token_handle(struct tok_slot *slot, int64_t row, bool private, uint64_t generation)
{
  CK_OBJECT_HANDLE handle = 1 | ((CK_OBJECT_HANDLE)row & ROW_MASK) << ROW_SHIFT |
                            (CK_OBJECT_HANDLE)(slot->objects->stamp & STAMP_MASK) << STAMP_SHIFT;
  return private ? handle | 2 | (generation & GENERATION_MASK) << GENERATION_SHIFT : handle;
}

int64_t tok_handle_row(struct tok_slot *slot, CK_OBJECT_HANDLE handle)
{
  bool private = (handle & 2) != 0;
  int64_t row = (int64_t)(handle >> ROW_SHIFT & ROW_MASK);
  if ((handle & 1) == 0 || (private && tok_auth_who(slot) != TOK_USER)) return 0;
  return handle == tok_token_handle(slot, row, private, tok_auth_generation(slot)) ? row : 0;
}

/* Serial numbers are never used again, not even after C_Finalize. */
CK_OBJECT_HANDLE tok_session_handle(bool private)
{
  static atomic_ullong last;
  return (CK_OBJECT_HANDLE)(atomic_fetch_add(&last, 1) + 1) << ROW_SHIFT | (private ? 2u : 0u);
}

/* --- session objects ------------------------------------------------------------------------------------------ */

struct tok_held *tok_held_new(void)
{
  return tok_alloc(sizeof(struct tok_held));
}

/* Both under the lock. */
static void link_held(struct tok_objects *objects, struct tok_held *held)
{
  struct tok_object *object = held->object;
  tok_index_add(&objects->by_serial, &held->by_serial, object->handle, held);
  tok_index_add(&objects->by_owner, &held->by_owner, object->owner, held);
  tok_index_add(&objects->by_class, &held->by_class, object->class, held);
  tok_index_add(&objects->by_privacy, &held->by_privacy, object->private, held);
  held->tagged = 0;
  for (unsigned tag = 1; tag < TOK_TAG_END; tag++) {
    uint64_t key;
    if (!tok_held_tag(&object->attrs, object->kind, tag, &key)) continue;
    tok_index_add(&objects->by_tag, &held->by_tag[tag], key, held);
    held->tagged |= 1u << tag;
  }
}

static void unlink_held(struct tok_objects *objects, struct tok_held *held)
{
  tok_index_remove(&objects->by_serial, &held->by_serial);
  tok_index_remove(&objects->by_owner, &held->by_owner);
  tok_index_remove(&objects->by_class, &held->by_class);
  tok_index_remove(&objects->by_privacy, &held->by_privacy);
  for (unsigned tag = 1; tag < TOK_TAG_END; tag++)
    if ((held->tagged >> tag & 1) != 0) tok_index_remove(&objects->by_tag, &held->by_tag[tag]);
}

static struct tok_held *held_of(struct tok_objects *objects, CK_OBJECT_HANDLE handle)
{
  struct tok_node *node = tok_index_first(&objects->by_serial, handle);
  return node != NULL ? node->owner : NULL;
}

CK_RV tok_held_publish(struct tok_held *held, struct tok_object *object, uint64_t generation)
{
  struct tok_objects *objects = object->slot->objects;
  CK_RV rv = CKR_OK;
  held->object = object;
  pthread_mutex_lock(&objects->lock);
  /* A logout that came before sees to the objects that are linked, so this one must not be any more. */
  if (object->private && tok_auth_generation(object->slot) != generation)
    rv = CKR_USER_NOT_LOGGED_IN;
  else
    link_held(objects, held);
  pthread_mutex_unlock(&objects->lock);
  return rv;
}

CK_RV tok_held_replace(struct tok_object *old, struct tok_object *fresh)
{
  struct tok_objects *objects = old->slot->objects;
  struct tok_object *gone = fresh;
  CK_RV rv = CKR_OK;
  pthread_mutex_lock(&objects->lock);
  struct tok_held *held = held_of(objects, old->handle);
  if (held == NULL) {
    rv = CKR_OBJECT_HANDLE_INVALID;
  } else if (held->object != old) {
    rv = CKR_FUNCTION_FAILED;
  } else {
    unlink_held(objects, held);
    held->object = fresh;
    link_held(objects, held);
    gone = old;
  }
  pthread_mutex_unlock(&objects->lock);
  tok_object_unref(gone);
  return rv;
}

/* Destroys a list that was unlinked. They are chained by by_serial.owner, which nobody reads any more. */
static void destroy_list(struct tok_held *list)
{
  while (list != NULL) {
    struct tok_held *next = list->by_serial.owner;
    tok_object_unref(list->object);
    free(list);
    list = next;
  }
}

static void move_to_list(struct tok_objects *objects, struct tok_held *held, struct tok_held **list)
{
  unlink_held(objects, held);
  held->by_serial.owner = *list;
  *list = held;
}

CK_RV tok_held_destroy(struct tok_slot *slot, CK_OBJECT_HANDLE handle)
{
  struct tok_held *list = NULL;
  pthread_mutex_lock(&slot->objects->lock);
  struct tok_held *held = held_of(slot->objects, handle);
  if (held != NULL) move_to_list(slot->objects, held, &list);
  pthread_mutex_unlock(&slot->objects->lock);
  destroy_list(list);
  return held != NULL ? CKR_OK : CKR_OBJECT_HANDLE_INVALID;
}

void tok_objects_session_closed(struct tok_slot *slot, CK_SESSION_HANDLE session)
{
  struct tok_held *list = NULL;
  pthread_mutex_lock(&slot->objects->lock);
  struct tok_node *node;
  while ((node = tok_index_first(&slot->objects->by_owner, session)) != NULL)
    move_to_list(slot->objects, node->owner, &list);
  pthread_mutex_unlock(&slot->objects->lock);
  destroy_list(list);
}

void tok_objects_logged_out(struct tok_slot *slot)
{
  struct tok_held *list = NULL;
  pthread_mutex_lock(&slot->objects->lock);
  struct tok_node *node;
  while ((node = tok_index_first(&slot->objects->by_privacy, true)) != NULL)
    move_to_list(slot->objects, node->owner, &list);
  pthread_mutex_unlock(&slot->objects->lock);
  destroy_list(list);
  tok_cache_clear(slot->objects, true);
}

/* --- the slot's --------------------------------------------------------------------------------------------- */

struct tok_objects *tok_objects_new(struct tok_slot *slot)
{
  static atomic_ullong last_stamp;
  struct tok_objects *objects = tok_alloc(sizeof *objects);
  if (objects == NULL) return NULL;
  objects->slot = slot;
  objects->stamp = atomic_fetch_add(&last_stamp, 1) + 1;
  pthread_mutex_init(&objects->lock, NULL);
  return objects;
}

void tok_objects_free(struct tok_objects *objects)
{
  struct tok_held *list = NULL;
  struct tok_node *node;
  if (objects == NULL) return;
  while ((node = tok_index_any(&objects->by_serial)) != NULL) move_to_list(objects, node->owner, &list);
  destroy_list(list);
  tok_cache_clear(objects, false);
  tok_index_free(&objects->by_serial);
  tok_index_free(&objects->by_owner);
  tok_index_free(&objects->by_class);
  tok_index_free(&objects->by_privacy);
  tok_index_free(&objects->by_tag);
  tok_index_free(&objects->by_row);
  pthread_mutex_destroy(&objects->lock);
  free(objects);
}

void tok_objects_forget(struct tok_slot *slot)
{
  tok_cache_clear(slot->objects, false);
}

CK_RV tok_object_get(struct tok_session *session, CK_OBJECT_HANDLE handle, struct tok_object **object)
{
  struct tok_slot *slot = session->slot;
  if ((handle & 1) != 0) {
    int64_t row = tok_handle_row(slot, handle);
    CK_RV rv = row != 0 ? tok_cache_get(slot, row, object) : CKR_OBJECT_HANDLE_INVALID;
    /* Private objects have other handles than the rest, also when the token was made anew by another process. */
    if (rv == CKR_OK && (*object)->private != ((handle & 2) != 0)) {
      tok_object_unref(*object);
      rv = CKR_OBJECT_HANDLE_INVALID;
    }
    return rv;
  }
  if ((handle & 2) != 0 && tok_auth_who(slot) != TOK_USER) return CKR_OBJECT_HANDLE_INVALID;
  pthread_mutex_lock(&slot->objects->lock);
  struct tok_held *held = held_of(slot->objects, handle);
  if (held != NULL) tok_object_ref(*object = held->object);
  pthread_mutex_unlock(&slot->objects->lock);
  return held != NULL ? CKR_OK : CKR_OBJECT_HANDLE_INVALID;
}
