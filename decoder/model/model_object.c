/* Objects: what searches, reads and templates say of each handle. */
#include <stdlib.h>

#include "decoder/model/search.h"

static void unlink_object(struct model_module *m, struct model_object *o)
{
  *(o->newer ? &o->newer->older : &m->newest) = o->older;
  *(o->older ? &o->older->newer : &m->oldest) = o->newer;
}

static void to_front(struct model_module *m, struct model_object *o)
{
  o->newer = NULL;
  o->older = m->newest;
  *(m->newest ? &m->newest->newer : &m->oldest) = o;
  m->newest = o;
}

void model_free_object(void *object)
{
  struct model_object *o = object;
  kept_clear(&o->kept);
  free(o);
}

static void drop(struct model_module *m, struct model_object *o)
{
  unlink_object(m, o);
  model_free_object(table_take(&m->objects, o->handle));
}

void model_drop_objects_of(struct model_module *module, const struct model_session *session, const struct note *note)
{
  if (!session->makes && !module->orphans) return;
  for (struct model_object *o = module->newest, *next; o; o = next) {
    next = o->older;
    if (o->creator != session->handle || o->facts.token == TRI_YES || o->facts.token == TRI_UNKNOWN) continue;
    model_object_gone(module, o, GONE_CREATOR, note);
    drop(module, o);
  }
}

/* What becomes of an object of the slot: 0 it stays, 1 nothing is known of the handle any more, 2 it is gone. */
static int fate(const struct model_object *o, enum model_gone_why why)
{
  switch (why) {
    case GONE_REMOVED: return 2;
    /* "any of the application's handles to private objects become invalid (even if a user is later logged back into the
     * token, those handles remain invalid). In addition, all private session objects [...] are destroyed" (C_Logout). */
    case GONE_LOGOUT:
      if (o->facts.is_private == TRI_NO || (!o->facts.is_private && o->shown_public)) return 0;
      return o->facts.is_private == TRI_YES || o->facts.class == CKO_PRIVATE_KEY ? 2 : 1;
    /* Without sessions there are no session objects, and nobody is logged in. */
    default: return o->facts.token == TRI_NO || o->facts.is_private == TRI_YES ? 2 : 1;
  }
}

void model_drop_objects_at(struct model_slot *slot, enum model_gone_why why, const struct note *note)
{
  for (struct model_object *o = slot->module->newest, *next; o; o = next) {
    next = o->older;
    const int what = o->slot == slot ? fate(o, why) : 0;
    if (what == 2) model_object_gone(slot->module, o, why, note);
    if (what) drop(slot->module, o);
  }
}

void model_drop_objects(struct model_module *module)
{
  table_clear(&module->objects, model_free_object);
  module->newest = module->oldest = NULL;
}

struct model_object *model_object(struct model_module *module, uint64_t handle)
{
  struct model_object *o = table_get(&module->objects, handle);
  if (o && o != module->newest) {
    unlink_object(module, o);
    to_front(module, o);
  }
  return o;
}

struct model_object *model_object_make(struct model_module *m, uint64_t handle, struct model_slot *slot)
{
  struct model_object *o = model_object(m, handle);
  if (!o) {
    if (m->objects.count >= MODEL_OBJECTS) drop(m, m->oldest);
    o = model_alloc(sizeof *o);
    o->handle = handle;
    o->facts.class = MODEL_NO_CLASS;
    table_put(&m->objects, handle, o);
    to_front(m, o);
  }
  if (slot) o->slot = slot;
  return o;
}

static uint8_t tri(const struct value *template, uint64_t type)
{
  uint64_t n;
  return !pick_attribute_number(template, type, &n) ? TRI_UNKNOWN : n ? TRI_YES : TRI_NO;
}

struct model_facts model_facts(const struct value *template)
{
  struct model_facts f = {.class = MODEL_NO_CLASS};
  uint64_t n;
  if (pick_attribute_number(template, CKA_CLASS, &n)) f.class = n;
  f.token = tri(template, CKA_TOKEN);
  f.is_private = tri(template, CKA_PRIVATE);
  size_t length;
  const uint8_t *id = pick_bytes(pick_attribute(template, CKA_ID), &length);
  if (id && length) f.id = pick_hash(id, length);
  return f;
}

bool model_has_key(const struct model_slot *slot, uint64_t id)
{
  const unsigned n = slot->keys < MODEL_KEYS ? slot->keys : MODEL_KEYS;
  for (unsigned i = 0; id && i < n; i++)
    if (slot->key[i] == id) return true;
  return false;
}

static void learn(struct model_object *o, const struct model_facts *facts)
{
  if (facts->class != MODEL_NO_CLASS) o->facts.class = facts->class;
  if (facts->token) o->facts.token = facts->token;
  if (facts->is_private) o->facts.is_private = facts->is_private;
  if (facts->id) o->facts.id = facts->id;
  if (o->slot && o->facts.class == CKO_PRIVATE_KEY && o->facts.id && !model_has_key(o->slot, o->facts.id))
    o->slot->key[o->slot->keys++ % MODEL_KEYS] = o->facts.id;
}

/* What a search says of an object is known only as far as nothing better is. */
static void learn_found(struct model_object *o, const struct model_session *s)
{
  struct model_facts facts = s->search;
  if (o->facts.class != MODEL_NO_CLASS) facts.class = MODEL_NO_CLASS;
  if (o->facts.token) facts.token = TRI_UNKNOWN;
  if (o->facts.is_private) facts.is_private = TRI_UNKNOWN;
  if (o->facts.id) facts.id = 0;
  learn(o, &facts);
  for (unsigned i = 0; s->found && s->found->active && i < s->found->attributes; i++)
    model_learn_attribute(o, &s->found->attribute[i], SOURCE_FOUND);
}

/* Proof that the handle is good, and perhaps that everybody may see the object. */
static void prove(struct model_object *o, const struct call *call, bool public)
{
  o->good = call->end_number;
  o->good_time = call->end;
  if (public) o->shown_public = true;
}

static bool is_public(const struct model_slot *slot, const struct call *call)
{
  return slot && model_settled(slot, call) && model_logged_out(slot);
}

static void found(const struct call *call, struct model_place *place)
{
  struct model_session *s = place->session;
  const struct value *list = &call->arg[1].out;
  if (!s || !s->searching || list->what != VALUE_LIST || !list->count || call_is_probe(call)) return;
  struct note note;
  model_note(place, &note, call);
  const bool public = is_public(s->slot, call);
  const uint64_t before = s->found && s->found->active ? s->found->results : 0;
  for (size_t i = 0; i < list->count; i++) {
    if (!list->item[i].number) continue;
    struct model_object *o = model_object(place->module, list->item[i].number);
    if (o && o->facts.class != s->search.class && s->search.class != MODEL_NO_CLASS && o->facts.class != MODEL_NO_CLASS)
      drop(place->module, o); /* the handle belongs to another object now */
    o = model_object_make(place->module, list->item[i].number, s->slot);
    if (!o->found.number && !o->made.number) o->found = note;
    o->listed = note;
    o->listed_session = s->handle;
    o->listed_of = before + list->count;
    prove(o, call, public);
    learn_found(o, s);
  }
}

static void read_values(const struct call *call, struct model_place *place)
{
  uint64_t handle;
  const struct value *template = pick_template(call);
  if (call->state != CALL_DONE || !template || !pick_in(call, 1, &handle)) return;
  if (call->rv != CKR_OK && call->rv != CKR_ATTRIBUTE_TYPE_INVALID && call->rv != CKR_ATTRIBUTE_SENSITIVE &&
      call->rv != CKR_BUFFER_TOO_SMALL)
    return;
  const struct model_facts facts = model_facts(template);
  struct model_object *o = model_object_make(place->module, handle, place->slot);
  prove(o, call, is_public(place->slot, call));
  learn(o, &facts);
  model_learn_attributes(o, template, SOURCE_READ);
}

/* clang-format off */
static const struct model_making making[P11_FUNCTIONS][2] = {
  [P11_F_C_CreateObject] = {{1, 3, MODEL_NO_CLASS}},
  [P11_F_C_CopyObject] = {{2, 4, MODEL_NO_CLASS}},
  [P11_F_C_GenerateKey] = {{2, 4, CKO_SECRET_KEY}},
  [P11_F_C_GenerateKeyPair] = {{2, 6, CKO_PUBLIC_KEY}, {4, 7, CKO_PRIVATE_KEY}},
  [P11_F_C_UnwrapKey] = {{5, 7, MODEL_NO_CLASS}},
  [P11_F_C_UnwrapKeyAuthenticated] = {{5, 9, MODEL_NO_CLASS}},
  [P11_F_C_EncapsulateKey] = {{3, 7, CKO_SECRET_KEY}},
  [P11_F_C_DecapsulateKey] = {{3, 7, CKO_SECRET_KEY}},
  [P11_F_C_DeriveKey] = {{3, 5, CKO_SECRET_KEY}},
};
/* clang-format on */

const struct model_making *model_makes(int function)
{
  return function >= 0 && making[function][0].handle ? making[function] : NULL;
}

static void made(const struct call *call, struct model_place *place, const struct model_making *what, uint64_t class)
{
  uint64_t handle, session;
  const struct value *template = &call->arg[what->template].in;
  if (!pick_out(call, what->handle, &handle)) return;
  /* The handle may have been another object's. */
  struct model_object *old = model_object(place->module, handle);
  if (old) drop(place->module, old);
  struct model_facts facts = model_facts(template);
  if (facts.class == MODEL_NO_CLASS) facts.class = class;
  if (!facts.token && call->known != P11_F_C_CopyObject) facts.token = TRI_NO; /* the default of CKA_TOKEN */
  struct model_object *o = model_object_make(place->module, handle, place->slot);
  if (pick_in(call, 0, &session)) o->creator = session;
  *(place->session ? &place->session->makes : &place->module->orphans) = true;
  model_note(place, &o->made, call);
  prove(o, call, is_public(place->slot, call));
  learn(o, &facts);
  model_learn_attributes(o, template, SOURCE_GIVEN);
}

static void copied(const struct call *call, struct model_place *place)
{
  uint64_t handle;
  const struct model_object *source = place->object;
  const struct model_facts facts = source ? source->facts : (struct model_facts){.class = MODEL_NO_CLASS};
  made(call, place, model_makes(call->known), facts.class);
  struct model_object *copy = pick_out(call, 4, &handle) ? model_object(place->module, handle) : NULL;
  if (!copy) return;
  if (!copy->facts.id) copy->facts.id = facts.id;
  if (!copy->facts.token) copy->facts.token = facts.token;
  if (!copy->facts.is_private) copy->facts.is_private = facts.is_private;
}

void model_apply_object(const struct call *call, struct model_place *place)
{
  if (call->known == P11_F_C_GetAttributeValue) {
    read_values(call, place);
    return;
  }
  if (!call_returned(call, CKR_OK)) return;
  if (place->object) prove(place->object, call, is_public(place->slot, call));
  switch (call->known) {
    case P11_F_C_FindObjects: found(call, place); break;
    case P11_F_C_CopyObject: copied(call, place); break;
    case P11_F_C_SetAttributeValue:
      if (place->object) {
        const struct model_facts facts = model_facts(pick_template(call));
        learn(place->object, &facts);
        model_learn_attributes(place->object, pick_template(call), SOURCE_GIVEN);
      }
      break;
    case P11_F_C_DestroyObject:
      if (!place->object) break;
      {
        struct note note;
        model_note(place, &note, call);
        model_object_gone(place->module, place->object, GONE_CLOSED, &note);
      }
      drop(place->module, place->object);
      place->object = NULL;
      break;
    default: {
      const struct model_making *what = model_makes(call->known);
      for (int i = 0; what && i < 2 && what[i].handle; i++) made(call, place, &what[i], what[i].class);
    }
  }
}
