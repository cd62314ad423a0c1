#include "decoder/model/pick.h"

#include <string.h>

bool pick_in(const struct call *call, unsigned index, uint64_t *number)
{
  if (index >= call->info->arity || call->arg[index].in.what != VALUE_NUMBER) return false;
  *number = call->arg[index].in.number;
  return true;
}

bool pick_out(const struct call *call, unsigned index, uint64_t *number)
{
  if (index >= call->info->arity || pick_is_null(call, index)) return false;
  if (call->arg[index].out.what != VALUE_NUMBER) return false;
  *number = call->arg[index].out.number;
  return true;
}

int pick_kind(const struct call *call, unsigned kind)
{
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == kind) return (int)i;
  return -1;
}

bool pick_is_null(const struct call *call, unsigned index)
{
  if (index >= call->info->arity || call->info->param[index].kind <= P11_K_KEY) return false;
  const struct value *in = &call->arg[index].in;
  return in->what != VALUE_NONE && in->pointer == P11T_P_NULL;
}

const struct value *pick_member(const struct call *call, unsigned index, unsigned structure, size_t offset)
{
  const struct value *value = &call->arg[index].out;
  const struct p11_struct *info = p11_struct_info(structure);
  if (index >= call->info->arity || value->what != VALUE_STRUCT || value->structure != structure || !info) return NULL;
  for (size_t i = 0; i < value->count; i++)
    if (value->item[i].member < info->count && info->field[value->item[i].member].offset == offset)
      return &value->item[i];
  return NULL;
}

const struct value *pick_attribute(const struct value *template, uint64_t type)
{
  if (!template || template->what != VALUE_TEMPLATE) return NULL;
  for (size_t i = 0; i < template->count; i++)
    if (template->item[i].number == type) return &template->item[i];
  return NULL;
}

bool pick_attribute_number(const struct value *template, uint64_t type, uint64_t *number)
{
  const struct value *a = pick_attribute(template, type);
  if (!a || !a->count || a->item[0].what != VALUE_NUMBER) return false;
  *number = a->item[0].number;
  return true;
}

const uint8_t *pick_bytes(const struct value *attribute, size_t *length)
{
  if (!attribute || !attribute->count) return NULL;
  const struct value *v = &attribute->item[0];
  if (v->what != VALUE_BYTES || v->form != P11T_V_FULL || v->kept != v->length) return NULL;
  *length = v->kept;
  return v->bytes ? v->bytes : (const uint8_t *)"";
}

const struct value *pick_template(const struct call *call)
{
  int i = pick_kind(call, P11_K_OUT_TEMPLATE);
  if (i >= 0) return call->arg[i].out.what == VALUE_TEMPLATE ? &call->arg[i].out : NULL;
  i = pick_kind(call, P11_K_TEMPLATE);
  return i >= 0 && call->arg[i].in.what == VALUE_TEMPLATE ? &call->arg[i].in : NULL;
}

uint64_t pick_hash(const void *bytes, size_t length)
{
  const uint8_t *p = bytes;
  uint64_t hash = 0xcbf29ce484222325ull ^ length;
  for (uint64_t word; length >= sizeof word; p += sizeof word, length -= sizeof word) {
    memcpy(&word, p, sizeof word);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 32;
  }
  for (; length; p++, length--) hash = (hash ^ *p) * 0x100000001b3ull;
  hash ^= hash >> 29;
  return hash ? hash : 1;
}
