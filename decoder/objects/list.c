#include <stdlib.h>

#include "decoder/objects/objects.h"

static bool same_id(const struct model_object *a, const struct model_object *b)
{
  const struct model_attribute *x = model_attribute(a, CKA_ID), *y = model_attribute(b, CKA_ID);
  if (x && y && x->length && x->length != UINT64_MAX) return model_same(x, y) == TRI_YES;
  return a->facts.id && a->facts.id == b->facts.id;
}

/* Session objects are copies that NSS makes for itself. */
static const struct model_object *partner(const struct model_object *o, uint64_t class)
{
  if (o->facts.class == class || !o->slot) return NULL;
  for (const struct model_object *p = o->slot->module->newest; p; p = p->older)
    if (p->slot == o->slot && p->facts.class == class && p->facts.token != TRI_NO && same_id(o, p)) return p;
  return NULL;
}

static const char *words(const struct model_object *o, const struct object_belief *b)
{
  switch (o->facts.class) {
    case CKO_CERTIFICATE:
      if (b->private_key) return "the user's: a private key has its CKA_ID";
      if (b->public_key) return "the user's, by its public key: a private key was not seen";
      return "no key with its CKA_ID was seen";
    case CKO_PRIVATE_KEY:
      return b->certificate ? "has a certificate" : "no certificate with its CKA_ID was seen: an orphan to NSS";
    case CKO_PUBLIC_KEY:
      return b->private_key ? "tells of the private key before a login" : "no private key with its CKA_ID was seen";
    default: return "";
  }
}

struct object_belief objects_belief(const struct model_object *o)
{
  struct object_belief b = {partner(o, CKO_CERTIFICATE), partner(o, CKO_PRIVATE_KEY), partner(o, CKO_PUBLIC_KEY), ""};
  b.words = words(o, &b);
  return b;
}

static int by_class(const void *a, const void *b)
{
  const struct model_object *x = *(const struct model_object *const *)a, *y = *(const struct model_object *const *)b;
  if (x->facts.class != y->facts.class) return x->facts.class < y->facts.class ? -1 : 1;
  return x->handle < y->handle ? -1 : x->handle > y->handle;
}

const struct model_object **objects_of(const struct model_slot *slot, size_t *count)
{
  const struct model_object **list = model_alloc((slot->module->objects.count + 1) * sizeof *list);
  *count = 0;
  for (const struct model_object *o = slot->module->newest; o; o = o->older)
    if (o->slot == slot) list[(*count)++] = o;
  qsort(list, *count, sizeof *list, by_class);
  return list;
}

static int by_id(const void *a, const void *b)
{
  const struct model_slot *x = *(const struct model_slot *const *)a, *y = *(const struct model_slot *const *)b;
  return x->id < y->id ? -1 : x->id > y->id;
}

const struct model_slot **objects_slots(const struct model_module *module, size_t *count)
{
  const struct model_slot **list = model_alloc((module->slots.count + 1) * sizeof *list);
  size_t at = 0;
  *count = 0;
  for (struct model_slot *s; (s = table_next(&module->slots, &at));) list[(*count)++] = s;
  qsort(list, *count, sizeof *list, by_id);
  return list;
}
