/* Token objects that were read last. */
#include <stdlib.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/slots.h"
#include "object/object_pool.h"
#include "object/object_rows.h"
#include "store/store.h"

/* A key or certificate takes about 2 KB; what is larger makes the cache smaller. */
#define MOST_CACHED 4096
#define MOST_BYTES ((size_t)64 << 20)

/* --- under the lock ----------------------------------------------------------------------------------------- */

static void unlink_use(struct tok_objects *objects, struct tok_cached *entry)
{
  if (entry->newer != NULL)
    entry->newer->older = entry->older;
  else
    objects->newest = entry->older;
  if (entry->older != NULL)
    entry->older->newer = entry->newer;
  else
    objects->oldest = entry->newer;
}

static void link_newest(struct tok_objects *objects, struct tok_cached *entry)
{
  entry->newer = NULL;
  entry->older = objects->newest;
  if (entry->older != NULL)
    entry->older->newer = entry;
  else
    objects->oldest = entry;
  objects->newest = entry;
}

static struct tok_cached *entry_of(struct tok_objects *objects, int64_t row)
{
  struct tok_node *node = tok_index_first(&objects->by_row, (uint64_t)row);
  return node != NULL ? node->owner : NULL;
}

/* Takes an entry out and puts it on a list for free_list, which runs without the lock. */
static void evict(struct tok_objects *objects, struct tok_cached *entry, struct tok_cached **list)
{
  tok_index_remove(&objects->by_row, &entry->by_row);
  unlink_use(objects, entry);
  objects->cached--;
  objects->cached_bytes -= entry->bytes;
  entry->older = *list;
  *list = entry;
}

/* --- without it --------------------------------------------------------------------------------------------- */

static void free_list(struct tok_cached *list)
{
  while (list != NULL) {
    struct tok_cached *next = list->older;
    tok_object_unref(list->object);
    free(list);
    list = next;
  }
}

void tok_cache_drop(struct tok_slot *slot, int64_t row)
{
  struct tok_cached *list = NULL;
  pthread_mutex_lock(&slot->objects->lock);
  struct tok_cached *entry = entry_of(slot->objects, row);
  if (entry != NULL) evict(slot->objects, entry, &list);
  pthread_mutex_unlock(&slot->objects->lock);
  free_list(list);
}

void tok_cache_clear(struct tok_objects *objects, bool opened_only)
{
  struct tok_cached *list = NULL, *next;
  pthread_mutex_lock(&objects->lock);
  for (struct tok_cached *entry = objects->newest; entry != NULL; entry = next) {
    next = entry->older;
    if (!opened_only || entry->opened) evict(objects, entry, &list);
  }
  pthread_mutex_unlock(&objects->lock);
  free_list(list);
}

void tok_cache_put(struct tok_object *object, uint64_t checked, uint64_t generation, bool opened)
{
  struct tok_objects *objects = object->slot->objects;
  struct tok_cached *list = NULL, *fresh = tok_alloc(sizeof *fresh);
  if (fresh == NULL) return; /* it works without */
  fresh->object = object;
  fresh->checked = checked;
  fresh->generation = generation;
  fresh->opened = opened;
  fresh->bytes = sizeof *object;
  for (size_t i = 0; i < object->attrs.count; i++)
    fresh->bytes += sizeof object->attrs.list[i] + object->attrs.list[i].len;
  pthread_mutex_lock(&objects->lock);
  struct tok_cached *entry = entry_of(objects, object->row);
  /* What a login opened may not stay after its end; tok_objects_logged_out comes after the generation has changed. */
  if ((opened && tok_auth_generation(object->slot) != generation) ||
      (entry != NULL && entry->object->version > object->version && entry->generation == generation)) {
    pthread_mutex_unlock(&objects->lock);
    free(fresh);
    return;
  }
  if (entry != NULL) evict(objects, entry, &list);
  while (objects->oldest != NULL &&
         (objects->cached >= MOST_CACHED || objects->cached_bytes + fresh->bytes > MOST_BYTES))
    evict(objects, objects->oldest, &list);
  tok_object_ref(object);
  tok_index_add(&objects->by_row, &fresh->by_row, (uint64_t)object->row, fresh);
  link_newest(objects, fresh);
  objects->cached++;
  objects->cached_bytes += fresh->bytes;
  pthread_mutex_unlock(&objects->lock);
  free_list(list);
}

/* A cached object with a reference, if it is certainly up to date, or *stale with its version if that has to be
 * asked. */
static struct tok_object *look_up(struct tok_objects *objects, int64_t row, uint64_t number, uint64_t generation,
                                  uint64_t *stale)
{
  struct tok_object *object = NULL;
  *stale = 0;
  pthread_mutex_lock(&objects->lock);
  struct tok_cached *entry = entry_of(objects, row);
  if (entry != NULL && !(entry->opened && entry->generation != generation)) {
    if (entry->checked == number) {
      tok_object_ref(object = entry->object);
      if (objects->newest != entry) {
        unlink_use(objects, entry);
        link_newest(objects, entry);
      }
    } else {
      *stale = entry->object->version;
    }
  }
  pthread_mutex_unlock(&objects->lock);
  return object;
}

static void mark_checked(struct tok_objects *objects, int64_t row, uint64_t version, uint64_t number)
{
  pthread_mutex_lock(&objects->lock);
  struct tok_cached *entry = entry_of(objects, row);
  if (entry != NULL && entry->object->version == version) entry->checked = number;
  pthread_mutex_unlock(&objects->lock);
}

static CK_RV load(struct tok_slot *slot, struct tok_store *store, int64_t row_id, uint64_t number, uint64_t generation,
                  struct tok_object **object)
{
  struct tok_row row = {0};
  bool opened;
  CK_RV rv = tok_store_read(store, row_id, &row);
  if (rv != CKR_OK) return rv;
  rv = tok_row_read(slot, &row, object, &opened);
  tok_row_clear(&row);
  if (rv != CKR_OK) return rv;
  (*object)->handle = tok_token_handle(slot, row_id, (*object)->private, generation);
  tok_cache_put(*object, number, generation, opened);
  return CKR_OK;
}

CK_RV tok_cache_get(struct tok_slot *slot, int64_t row, struct tok_object **object)
{
  struct tok_store *store = atomic_load(&slot->store);
  uint64_t number, version, stale, generation = tok_auth_generation(slot);
  if (store == NULL) return CKR_OBJECT_HANDLE_INVALID;
  /* The number is read first: whatever is committed later makes it differ from the next one. */
  CK_RV rv = tok_store_change_number(store, &number);
  if (rv != CKR_OK) return rv;
  *object = look_up(slot->objects, row, number, generation, &stale);
  if (*object != NULL) return CKR_OK;
  if (stale != 0) {
    rv = tok_store_version(store, row, &version);
    if (rv != CKR_OK) return rv;
    if (version == stale) {
      mark_checked(slot->objects, row, version, number);
      *object = look_up(slot->objects, row, number, generation, &stale);
      if (*object != NULL) return CKR_OK;
    }
  }
  tok_cache_drop(slot, row);
  return load(slot, store, row, number, generation, object);
}
