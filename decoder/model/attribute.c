/* Attributes of objects, as small as comparing them needs: numbers, and hashes or tags of bytes. */
#include <inttypes.h>
#include <stdio.h>

#include "decoder/model/model.h"

static void bytes_of(const struct value *v, struct model_attribute *a)
{
  a->shape = v->shape;
  if (value_is_tagged(v)) {
    a->number = v->number;
    a->tagged = 1;
  } else if (v->form == P11T_V_FULL && v->kept == v->length) {
    a->number = pick_hash(v->bytes, v->kept);
  }
}

bool model_attribute_of(const struct value *item, struct model_attribute *attribute)
{
  if (!item || item->what != VALUE_ATTRIBUTE) return false;
  *attribute = (struct model_attribute){.type = item->number, .length = item->length};
  if (item->length == UINT64_MAX) return true;
  if (!item->count) return item->length == 0;
  const struct value *v = &item->item[0];
  if (v->what == VALUE_NUMBER)
    attribute->number = v->number, attribute->scalar = 1;
  else if (v->what == VALUE_BYTES)
    bytes_of(v, attribute);
  return true;
}

static struct model_attribute *place_of(struct model_object *o, uint64_t type)
{
  for (unsigned i = 0; i < o->attributes; i++)
    if (o->attribute[i].type == type) return &o->attribute[i];
  if (o->attributes == MODEL_ATTRIBUTES) return NULL;
  o->attribute[o->attributes] = (struct model_attribute){.type = type};
  return &o->attribute[o->attributes++];
}

void model_learn_attribute(struct model_object *object, const struct model_attribute *attribute,
                           enum model_source source)
{
  struct model_attribute *to = place_of(object, attribute->type);
  if (!to || (source == SOURCE_FOUND && to->source > SOURCE_FOUND)) return;
  /* A length alone (a NULL buffer) does not replace a value. */
  const bool bare = attribute->length && attribute->length != UINT64_MAX && !attribute->number && !attribute->scalar;
  if (bare && to->source && to->length != UINT64_MAX) return;
  *to = *attribute;
  to->source = (uint8_t)source;
}

void model_learn_attributes(struct model_object *object, const struct value *template, enum model_source source)
{
  if (!template || template->what != VALUE_TEMPLATE) return;
  for (size_t i = 0; i < template->count; i++) {
    struct model_attribute a;
    if (!model_attribute_of(&template->item[i], &a)) continue;
    model_learn_attribute(object, &a, source);
  }
}

const struct model_attribute *model_attribute(const struct model_object *object, uint64_t type)
{
  for (unsigned i = 0; object && i < object->attributes; i++)
    if (object->attribute[i].type == type) return &object->attribute[i];
  return NULL;
}

uint64_t model_number(const struct model_object *object, uint64_t type, uint64_t otherwise)
{
  const struct model_attribute *a = model_attribute(object, type);
  return a && a->scalar && a->length != UINT64_MAX ? a->number : otherwise; /* not what was only asked for its length */
}

enum model_tri model_same(const struct model_attribute *a, const struct model_attribute *b)
{
  if (!a || !b || a->length == UINT64_MAX || b->length == UINT64_MAX) return TRI_UNKNOWN;
  if (a->length != b->length) return TRI_NO;
  if (!a->length) return TRI_YES;
  if (a->scalar && b->scalar) return a->number == b->number ? TRI_YES : TRI_NO;
  if (!a->number || !b->number || a->tagged != b->tagged || a->scalar != b->scalar) return TRI_UNKNOWN;
  return a->number == b->number ? TRI_YES : TRI_NO;
}

const char *model_attribute_name(uint64_t type, char text[32])
{
  const struct p11_attribute_info *info = p11_attribute(type);
  if (info) return info->name;
  snprintf(text, 32, "CKA_0x%" PRIx64, type);
  return text;
}
