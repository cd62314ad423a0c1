/* Templates: attributes that are given, and attributes that are asked for. */
#include <string.h>

#include "decoder/replay/live_part.h"

/* A count that the recorder did not believe (there is then no entry): attributes of type 0 without a value, up to an unmapped
 * page. */
static bool is_unbelieved(struct laying *l, const struct value *template)
{
  const struct p11_param *p = &l->live->call->info->param[l->param];
  return p->link != 0 && l->live->call->arg[p->link - 1].in.number > template->count;
}

CK_ATTRIBUTE *live_template(struct laying *l, const struct value *template, unsigned depth)
{
  if (template->pointer == P11T_P_NULL && depth == 0) return NULL;
  if (template->pointer == P11T_P_UNREADABLE) return live_nowhere(l->live);
  if (depth == 0 && is_unbelieved(l, template)) return live_small(l->live);
  CK_ATTRIBUTE *to = arena_alloc(&l->live->memory, (template->count + 1) * sizeof *to);
  for (size_t i = 0; i < template->count; i++) {
    const struct value *attribute = &template->item[i], *value = attribute->item;
    uint64_t length = attribute->length;
    to[i].type = attribute->number;
    if (attribute->count > 0 && attribute->pointer != P11T_P_NULL) {
      if (value->what == VALUE_TEMPLATE) {
        to[i].pValue = live_template(l, value, depth + 1);
        length = value->count * sizeof *to;
      } else {
        to[i].pValue = live_bytes(l, value, live_attribute_class(attribute->number), &length);
      }
    }
    to[i].ulValueLen = length;
  }
  return to;
}

/* The value of CKA_WRAP_TEMPLATE and its like is an array of CK_ATTRIBUTE whose pointers are the caller's too. */
static void nested(struct laying *l, CK_ATTRIBUTE *to, const struct value *answered)
{
  CK_ATTRIBUTE *inner = to->pValue;
  for (size_t i = 0; i < answered->count && (i + 1) * sizeof *inner <= to->ulValueLen; i++) {
    const struct value *attribute = &answered->item[i];
    inner[i].type = attribute->number;
    if (attribute->pointer == P11T_P_NULL || live_absurd(attribute->length)) continue;
    inner[i].pValue = live_room(l->live, (size_t)attribute->length, NULL, attribute->number);
    inner[i].ulValueLen = attribute->length;
  }
}

CK_ATTRIBUTE *live_asked(struct laying *l, const struct value *asked, const struct value *answered)
{
  if (asked->pointer == P11T_P_NULL) return NULL;
  if (asked->pointer == P11T_P_UNREADABLE) return live_nowhere(l->live);
  if (is_unbelieved(l, asked)) return live_small(l->live);
  const char *name = l->live->call->info->param[l->param].name;
  CK_ATTRIBUTE *to = live_room(l->live, asked->count * sizeof *to, name, 0);
  for (size_t i = 0; i < asked->count; i++) {
    const struct value *attribute = &asked->item[i];
    to[i].type = attribute->number;
    to[i].ulValueLen = attribute->length;
    if (attribute->pointer == P11T_P_NULL) continue;
    uint64_t length = live_attribute_room(l->player, l->live->call, attribute->number, attribute->length);
    to[i].ulValueLen = length;
    if (live_absurd(length)) {
      to[i].pValue = live_small(l->live);
      continue;
    }
    to[i].pValue = live_room(l->live, (size_t)length, NULL, attribute->number);
    if (answered->what == VALUE_TEMPLATE && i < answered->count && answered->item[i].count > 0 &&
        answered->item[i].item->what == VALUE_TEMPLATE) {
      nested(l, &to[i], answered->item[i].item);
    }
  }
  return to;
}
