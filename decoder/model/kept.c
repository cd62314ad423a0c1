#include "decoder/model/kept.h"

#include <stdlib.h>

#include "decoder/model/table.h"

struct kept {
  struct kept *next;
  const struct kept_type *type;
  max_align_t state[];
};

void *kept_get(struct kept *list, const struct kept_type *type)
{
  for (; list; list = list->next)
    if (list->type == type) return list->state;
  return NULL;
}

void *kept_make(struct kept **list, const struct kept_type *type)
{
  void *state = kept_get(*list, type);
  if (state) return state;
  struct kept *k = model_alloc(sizeof *k + type->size);
  k->next = *list;
  k->type = type;
  *list = k;
  return k->state;
}

static void drop(struct kept *k)
{
  if (k->type->clear) k->type->clear(k->state);
  free(k);
}

void kept_drop(struct kept **list, const struct kept_type *type)
{
  for (; *list; list = &(*list)->next) {
    if ((*list)->type != type) continue;
    struct kept *k = *list;
    *list = k->next;
    drop(k);
    return;
  }
}

void kept_clear(struct kept **list)
{
  while (*list) {
    struct kept *k = *list;
    *list = k->next;
    drop(k);
  }
}
