/* What a trace found on a token: its portraits, each object once. A handle may be handed out anew after C_Finalize. */
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/prepare_part.h"

/* Two objects that differ in one of these are two; that are alike in one of the first ones, and differ in none, are one. */
static const CK_ATTRIBUTE_TYPE telling[] = {
    CKA_VALUE,   CKA_MODULUS, CKA_EC_POINT,    CKA_ID,        CKA_LABEL,    CKA_SERIAL_NUMBER,
    CKA_SUBJECT, CKA_ISSUER,  CKA_APPLICATION, CKA_OBJECT_ID, CKA_KEY_TYPE, CKA_CERTIFICATE_TYPE,
};
#define STRONG 6

static bool is_alike(const struct value *a, const struct value *b)
{
  if (a->what != b->what) return false;
  if (a->what == VALUE_NUMBER) return a->number == b->number;
  return a->kept == b->kept && (!a->kept || !memcmp(a->bytes, b->bytes, a->kept));
}

static bool is_same(const struct portrait *a, const struct portrait *b)
{
  uint64_t class_a, class_b;
  bool alike = a->handle == b->handle;
  if (!portrait_number(a, CKA_CLASS, &class_a) || !portrait_number(b, CKA_CLASS, &class_b) || class_a != class_b)
    return false;
  for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
    const struct value *x = portrait_attribute(a, telling[i]), *y = portrait_attribute(b, telling[i]);
    if (!x || !y) continue;
    if (!is_alike(x, y)) return false;
    if (i < STRONG && (x->what != VALUE_BYTES || x->kept)) alike = true;
  }
  return alike;
}

/* What the other one knows besides. */
static void merge(struct prepare *p, struct portrait *into, const struct portrait *from)
{
  struct value *all = arena_alloc(&p->memory, (into->count + from->count + 1) * sizeof *all);
  size_t count = into->count;
  if (count) memcpy(all, into->attribute, count * sizeof *all);
  for (size_t i = 0; i < from->count; i++)
    if (!portrait_attribute(into, from->attribute[i].number)) all[count++] = from->attribute[i];
  into->attribute = all;
  into->count = count;
}

/* What the trace itself put on the token is there by the time that it is looked for. */
static bool is_made_before(const struct portrait_entry *made, const struct portrait *portrait)
{
  for (; made; made = made->next) {
    if (made->portrait.from >= portrait->from) return false;
    uint64_t token;
    if (!made->portrait.made || made->portrait.slot != portrait->slot) continue;
    if (portrait_number(&made->portrait, CKA_TOKEN, &token) && token && is_same(&made->portrait, portrait)) return true;
  }
  return false;
}

static bool is_on_token(const struct portrait *portrait)
{
  uint64_t token;
  return !portrait_number(portrait, CKA_TOKEN, &token) || token;
}

void prepare_wanted(struct prepare *p, uint64_t slot, struct prepare_list *list)
{
  const struct portraits *portraits = p->player->portraits;
  *list = (struct prepare_list){0};
  size_t room = 0;
  for (const struct portrait_entry *e = portraits->first; e; e = e->next) room++;
  list->at = arena_alloc(&p->memory, (room + 1) * sizeof(struct portrait *));
  for (const struct portrait_entry *e = portraits->first; e; e = e->next) {
    if (e->portrait.made || e->portrait.slot != slot || !is_on_token(&e->portrait)) continue;
    if (is_made_before(portraits->first, &e->portrait)) continue;
    size_t i = 0;
    while (i < list->count && !is_same(list->at[i], &e->portrait)) i++;
    if (i < list->count) {
      merge(p, list->at[i], &e->portrait);
      continue;
    }
    struct portrait *copy = arena_alloc(&p->memory, sizeof *copy);
    *copy = e->portrait;
    list->at[list->count++] = copy;
  }
}
