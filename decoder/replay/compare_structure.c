/* Information structures and what the module wrote into the parameter of a mechanism or message, member by member. */
#include <stdio.h>
#include <string.h>

#include "decoder/replay/live_part.h"
#include "decoder/replay/maps.h"

static void members(struct comparing *c, const char *place, const struct value *then, const uint8_t *at);

static uint64_t load(const uint8_t *at, unsigned size)
{
  uint64_t number = 0;
  memcpy(&number, at, size < sizeof number ? size : sizeof number);
  return number;
}

static const uint8_t *load_pointer(const uint8_t *at)
{
  const uint8_t *p;
  memcpy(&p, at, sizeof p);
  return p;
}

/* IVs that the module makes itself are new each time. */
static bool is_generated(const struct p11_struct *s, const uint8_t *at)
{
  for (unsigned i = 0; i < s->count; i++) {
    if (s->field[i].kind == P11_FK_ENUM && s->field[i].ref == P11_DOM_CKG_GENERATE)
      return load(at + s->field[i].offset, s->field[i].size) != CKG_NO_GENERATE;
  }
  return false;
}

static void slot(struct comparing *c, const char *place, uint64_t then, uint64_t now)
{
  uint64_t expected = then, why = 0;
  if (maps_slot(c->player, then, &expected, &why) && expected == now) return;
  struct difference *d = compare_differ(c, "%s", place);
  compare_text(d->recorded, "%lu", (unsigned long)then);
  compare_text(d->replayed, "%lu", (unsigned long)now);
}

static void version(struct comparing *c, const char *place, const struct value *then, const uint8_t *at)
{
  uint64_t now = at[0] * 256u + at[1];
  if (now == then->number) return;
  struct difference *d = compare_differ(c, "%s", place);
  const struct value value = {.what = VALUE_VERSION, .pointer = P11T_P_OWN, .number = now};
  compare_show(d->recorded, then, (struct meaning){AS_DECIMAL, 0});
  compare_show(d->replayed, &value, (struct meaning){AS_DECIMAL, 0});
}

static void behind(struct comparing *c, const char *place, const struct p11_struct *s, const struct p11_field *f,
                   const struct value *then, const uint8_t *at)
{
  const uint8_t *p = load_pointer(at + f->offset);
  if (p == NULL || then->pointer == P11T_P_NULL || then->pointer == P11T_P_UNREADABLE) return;
  switch (f->kind) {
    case P11_FK_PVERSION: version(c, place, then, p); break;
    case P11_FK_PNUMBER: compare_number(c, place, meaning_of_field(f), then->number, load(p, sizeof(CK_ULONG))); break;
    case P11_FK_PSTRUCT: members(c, place, then, p); break;
    case P11_FK_STRUCTS:
      for (size_t i = 0; then->what == VALUE_LIST && i < then->count; i++) {
        members(c, place, &then->item[i], p + i * p11_struct_info(f->ref)->size);
      }
      break;
    case P11_FK_BYTES:
    case P11_FK_BYTES_OF:
      if (f->secrecy == P11_PUBLIC && then->what == VALUE_BYTES && !live_absurd(then->length) && !is_generated(s, at) &&
          c->live->call->info->group != P11_GROUP_ASYNC)
        compare_bytes(c, place, then, meaning_of_field(f), f->secrecy, p, (size_t)then->length);
      break;
    default: break;
  }
}

static bool is_number(const struct p11_field *f)
{
  return f->kind == P11_FK_NUMBER || f->kind == P11_FK_ENUM || f->kind == P11_FK_FLAGS || f->kind == P11_FK_BOOL;
}

/* Most members are equal numbers, which need no name. */
static void member(struct comparing *c, const char *parent, const struct p11_struct *s, const struct p11_field *f,
                   const struct value *then, const uint8_t *at)
{
  const uint8_t *here = at + f->offset;
  if (is_number(f) && then->number == load(here, f->size)) return;
  char place[80];
  snprintf(place, sizeof place, "%s.%s", parent, f->name);
  switch (f->kind) {
    case P11_FK_HANDLE: break;
    case P11_FK_SLOT: slot(c, place, then->number, load(here, f->size)); break;
    case P11_FK_STRUCT: members(c, place, then, here); break;
    case P11_FK_VERSION: version(c, place, then, here); break;
    case P11_FK_CHARS:
    case P11_FK_ARRAY:
      compare_bytes(c, place, then, meaning_of_field(f), (enum p11_secrecy)f->secrecy, here, f->size);
      break;
    case P11_FK_NUMBER:
    case P11_FK_ENUM:
    case P11_FK_FLAGS:
    case P11_FK_BOOL: compare_number(c, place, meaning_of_field(f), then->number, load(here, f->size)); break;
    default: behind(c, place, s, f, then, at); break;
  }
}

/* Other programs open sessions too, so that their number is not compared; but it is not 0 while one of ours is open (2.40, 3.2:
 * CK_TOKEN_INFO). Where the threads are free one may just have been closed. */
static void sessions(struct comparing *c, const char *parent, const struct p11_field *f, const struct value *then,
                     const uint8_t *at)
{
  const struct call *call = c->live->call;
  if (call->known != P11_F_C_GetTokenInfo || strcmp(f->name, "ulSessionCount") != 0) return;
  if (then->number == 0 || load(at + f->offset, f->size) != 0 || c->player->options->mode == REPLAY_FREE) return;
  if (!maps_slot_has_session(c->player, call->arg[0].in.number)) return;
  char place[80];
  snprintf(place, sizeof place, "%s.%s", parent, f->name);
  compare_number(c, place, meaning_of_field(f), then->number, 0);
}

static void members(struct comparing *c, const char *place, const struct value *then, const uint8_t *at)
{
  const struct p11_struct *s = then->what == VALUE_STRUCT ? p11_struct_info(then->structure) : NULL;
  for (size_t i = 0; s != NULL && i < then->count; i++) {
    const struct p11_field *f = then->item[i].member < s->count ? &s->field[then->item[i].member] : NULL;
    if (f == NULL || !(f->direction & P11_OUT)) continue;
    if (f->is_volatile)
      sessions(c, place, f, &then->item[i], at);
    else
      member(c, place, s, f, &then->item[i], at);
  }
}

void compare_structure(struct comparing *c, const char *place, const struct value *then, const void *now)
{
  if (now != NULL) members(c, place, then, now);
}
