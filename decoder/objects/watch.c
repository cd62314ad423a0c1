#include <stdlib.h>
#include <string.h>

#include "decoder/objects/objects.h"
#include "decoder/read/arena.h"
#include "decoder/rules/rules.h"
#include "decoder/show/x509.h"

static void free_texts(void *state)
{
  struct object_texts *t = state;
  free(t->label);
  free(t->id);
  free(t->subject);
}

static const struct kept_type texts_type = {sizeof(struct object_texts), free_texts};
static const struct kept_type searches_type = {sizeof(struct slot_searches), NULL};

const struct object_texts *objects_texts(const struct model_object *object)
{
  return kept_get(object->kept, &texts_type);
}

const struct slot_searches *objects_searches(const struct model_slot *slot)
{
  return kept_get(slot->kept, &searches_type);
}

static void set(char **to, const char *text)
{
  free(*to);
  *to = read_strdup(text);
}

static void set_hex(char **to, const uint8_t *bytes, size_t length)
{
  char text[2 * 32 + 4] = "";
  for (size_t i = 0; i < length && i < 32; i++) sprintf(text + 2 * i, "%02x", bytes[i]);
  if (length > 32) strcat(text, "...");
  set(to, text);
}

static void set_subject(char **to, const uint8_t *der, size_t length)
{
  char text[400];
  char *name = x509_name(der, length);
  if (!name) return;
  set(to, show_bytes((const uint8_t *)name, strlen(name), text, sizeof text));
  free(name);
}

static void learn(struct model_object *o, const struct value *template)
{
  if (!template || template->what != VALUE_TEMPLATE) return;
  for (size_t i = 0; i < template->count; i++) {
    size_t length;
    const uint8_t *bytes = pick_bytes(&template->item[i], &length);
    if (!bytes) continue;
    char text[300];
    struct object_texts *t = kept_make(&o->kept, &texts_type);
    switch (template->item[i].number) {
      case CKA_LABEL: set(&t->label, show_bytes(bytes, length, text, sizeof text)); break;
      case CKA_ID: set_hex(&t->id, bytes, length); break;
      case CKA_SUBJECT: set_subject(&t->subject, bytes, length); break;
      default: break;
    }
  }
}

static void count_search(struct model_slot *slot, const struct value *template)
{
  struct slot_searches *s = kept_make(&slot->kept, &searches_type);
  uint64_t class;
  s->all++;
  if (!pick_attribute_number(template, CKA_CLASS, &class)) return;
  s->certificates += class == CKO_CERTIFICATE;
  s->private_keys += class == CKO_PRIVATE_KEY;
  s->public_keys += class == CKO_PUBLIC_KEY;
}

static void made(const struct call *call, const struct model_place *place)
{
  const struct model_making *what = model_makes(call->known);
  uint64_t handle;
  for (int i = 0; what && i < 2 && what[i].handle; i++) {
    struct model_object *o = pick_out(call, what[i].handle, &handle) ? model_object(place->module, handle) : NULL;
    if (o) learn(o, &call->arg[what[i].template].in);
  }
}

void objects_watch(const struct event *event, const struct model_place *place)
{
  const struct call *call = event->call;
  const struct value *list = &call->arg[1].out;
  if (call->state != CALL_DONE) return;
  switch (call->known) {
    case P11_F_C_GetAttributeValue:
      if (place->object) learn(place->object, pick_template(call));
      break;
    case P11_F_C_SetAttributeValue:
      if (place->object && call->rv == CKR_OK) learn(place->object, pick_template(call));
      break;
    case P11_F_C_FindObjectsInit:
      if (call->rv == CKR_OK && place->slot) count_search(place->slot, pick_template(call));
      break;
    case P11_F_C_FindObjects: {
      struct slot_searches *s = place->slot ? kept_get(place->slot->kept, &searches_type) : NULL;
      if (s && call->rv == CKR_OK && list->what == VALUE_LIST) s->found += list->count;
      break;
    }
    default: made(call, place);
  }
}
