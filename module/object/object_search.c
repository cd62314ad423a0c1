/* Searching. */
#include "object/object_search.h"

#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/sessions.h"
#include "core/slots.h"
#include "object/attr_values.h"
#include "object/object_tags.h"

/* Up to this many hits of an index are read at once, which whoever asked does next anyhow; so what is damaged is not
 * even found. Of more, the index is believed if it covers the template. */
#define READ_AT_ONCE 8

struct search {
  struct tok_session *session;
  struct tok_attrs wanted;
  bool public_objects, private_objects; /* of which kind the template takes and the session sees some */
  struct tok_found *found;
};

void tok_found_free(struct tok_found *found)
{
  if (found != NULL) free(found->handle);
  free(found);
}

static CK_RV add(struct tok_found *found, CK_OBJECT_HANDLE handle)
{
  if (found->count == found->room) {
    size_t room = found->room == 0 ? 16 : found->room * 2;
    CK_OBJECT_HANDLE *larger = realloc(found->handle, room * sizeof *larger);
    if (larger == NULL) return CKR_HOST_MEMORY;
    found->handle = larger;
    found->room = room;
  }
  found->handle[found->count++] = handle;
  return CKR_OK;
}

static bool matches(const struct search *search, const struct tok_object *object)
{
  for (size_t i = 0; i < search->wanted.count; i++) {
    const struct tok_attr *want = &search->wanted.list[i];
    if (!tok_attrs_equal(&object->attrs, want->type, want->value, want->len)) return false;
    if (tok_attr_hidden(object->kind, &object->attrs, want->type)) return false;
  }
  return true;
}

/* --- session objects ------------------------------------------------------------------------------------------ */

/* The objects that hang together with `first`, from the oldest on. Under the lock. */
static CK_RV add_ring(struct search *search, const struct tok_node *first)
{
  CK_RV rv = CKR_OK;
  const struct tok_node *node = first;
  if (node == NULL) return CKR_OK;
  do {
    const struct tok_object *object = ((const struct tok_held *)node->owner)->object;
    if ((object->private ? search->private_objects : search->public_objects) && matches(search, object))
      rv = add(search->found, object->handle);
    node = node->next;
  } while (node != first && rv == CKR_OK);
  return rv;
}

static int by_age(const void *a, const void *b)
{
  const CK_OBJECT_HANDLE *left = a, *right = b;
  return (*left > *right) - (*left < *right);
}

static CK_RV find_held(struct search *search)
{
  struct tok_objects *objects = search->session->slot->objects;
  CK_OBJECT_CLASS class = tok_attrs_ulong(&search->wanted, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  enum tok_tag_kind tag = tok_tag_best(&search->wanted);
  uint64_t key;
  CK_RV rv;
  pthread_mutex_lock(&objects->lock);
  if (tag != 0 && tok_held_tag(&search->wanted, NULL, tag, &key)) {
    rv = add_ring(search, tok_index_first(&objects->by_tag, key));
  } else if (class != CK_UNAVAILABLE_INFORMATION) {
    rv = add_ring(search, tok_index_first(&objects->by_class, class));
  } else {
    rv = add_ring(search, tok_index_first(&objects->by_privacy, false));
    if (rv == CKR_OK) rv = add_ring(search, tok_index_first(&objects->by_privacy, true));
  }
  pthread_mutex_unlock(&objects->lock);
  if (search->found->count > 1) qsort(search->found->handle, search->found->count, sizeof(CK_OBJECT_HANDLE), by_age);
  return rv;
}

/* --- token objects -------------------------------------------------------------------------------------------- */

/* Does what the store has looked up decide about the whole template? */
static bool covered(const struct search *search, enum tok_tag_kind tag)
{
  for (size_t i = 0; i < search->wanted.count; i++) {
    CK_ATTRIBUTE_TYPE type = search->wanted.list[i].type;
    if (type != CKA_CLASS && type != CKA_TOKEN && type != CKA_PRIVATE && !(tag != 0 && tok_tag_covers(tag, type)))
      return false;
  }
  return true;
}

/* A tag for public and one for private objects. */
static CK_RV make_tags(struct search *search, enum tok_tag_kind kind, struct tok_query *query)
{
  CK_ULONG len;
  CK_BYTE *joined;
  CK_RV rv;
  struct tok_slot *slot = search->session->slot;
  const CK_BYTE *value = tok_tag_value(&search->wanted, NULL, kind, &len, &joined, &rv);
  if (value == NULL) return rv;
  if (search->public_objects) {
    rv = tok_tag_make(slot, false, kind, value, len, &query->any[query->alternatives]);
    if (rv == CKR_OK) query->alternatives++;
  }
  if (rv == CKR_OK && search->private_objects) {
    rv = tok_tag_make(slot, true, kind, value, len, &query->any[query->alternatives]);
    if (rv == CKR_OK) query->alternatives++;
    if (rv == CKR_USER_NOT_LOGGED_IN) { /* since a moment ago */
      search->private_objects = query->with_private = false;
      rv = CKR_OK;
    }
  }
  if (joined != NULL) tok_wipe_free(joined, len);
  return rv;
}

static CK_RV find_stored(struct search *search)
{
  struct tok_slot *slot = search->session->slot;
  struct tok_store *store = atomic_load(&slot->store);
  struct tok_query query = {.class = tok_attrs_ulong(&search->wanted, CKA_CLASS, CK_UNAVAILABLE_INFORMATION),
                            .with_private = search->private_objects};
  struct tok_hit *hits = NULL;
  size_t count = 0;
  enum tok_tag_kind tag = tok_tag_best(&search->wanted);
  uint64_t generation = tok_auth_generation(slot);
  if (store == NULL) return CKR_OK;
  CK_RV rv = tag != 0 ? make_tags(search, tag, &query) : CKR_OK;
  if (rv == CKR_OK && (tag == 0 || query.alternatives > 0)) rv = tok_store_find(store, &query, &hits, &count);
  bool believed = covered(search, tag) && count > READ_AT_ONCE;
  for (size_t i = 0; i < count && rv == CKR_OK; i++) {
    struct tok_object *object;
    if (!(hits[i].private ? search->private_objects : search->public_objects)) continue;
    if (!believed) {
      CK_RV read = tok_cache_get(slot, hits[i].id, &object);
      if (read == CKR_HOST_MEMORY) rv = read;
      if (read != CKR_OK) continue; /* gone meanwhile, or damaged */
      bool match = matches(search, object);
      tok_object_unref(object);
      if (!match) continue;
    }
    rv = add(search->found, tok_token_handle(slot, hits[i].id, hits[i].private, generation));
  }
  free(hits);
  return rv;
}

/* --- both ----------------------------------------------------------------------------------------------------- */

/* The template as a set; *nothing if no object can match it: a value of a form that the attribute cannot have, or
 * two. */
static CK_RV read_template(struct search *search, const CK_ATTRIBUTE *templ, CK_ULONG count, bool *nothing)
{
  *nothing = false;
  for (CK_ULONG i = 0; i < count && !*nothing; i++) {
    if (tok_attrs_has(&search->wanted, templ[i].type)) {
      *nothing = !tok_attrs_equal(&search->wanted, templ[i].type, templ[i].pValue, templ[i].ulValueLen);
      continue;
    }
    CK_RV rv = tok_value_take(&search->wanted, &templ[i]);
    if (rv == CKR_ATTRIBUTE_VALUE_INVALID)
      *nothing = true;
    else if (rv != CKR_OK)
      return rv;
  }
  return CKR_OK;
}

CK_RV tok_search(struct tok_session *session, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_found **found)
{
  struct search search = {.session = session, .wanted = TOK_ATTRS_EMPTY};
  bool nothing;
  search.found = tok_alloc(sizeof *search.found);
  CK_RV rv = search.found != NULL ? read_template(&search, templ, count, &nothing) : CKR_HOST_MEMORY;
  if (rv != CKR_OK || nothing) goto out;
  bool private = tok_attrs_bool(&search.wanted, CKA_PRIVATE, true);
  search.private_objects = private && tok_auth_who(session->slot) == TOK_USER;
  search.public_objects = !tok_attrs_bool(&search.wanted, CKA_PRIVATE, false);
  if (!tok_attrs_bool(&search.wanted, CKA_TOKEN, false)) rv = find_held(&search);
  if (rv == CKR_OK && tok_attrs_bool(&search.wanted, CKA_TOKEN, true)) rv = find_stored(&search);
out:
  tok_attrs_clear(&search.wanted);
  if (rv == CKR_OK)
    *found = search.found;
  else
    tok_found_free(search.found);
  return rv;
}
