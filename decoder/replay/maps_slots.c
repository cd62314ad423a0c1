/* Slots: by what the user said, then by label, serial number and model of their tokens, then by order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/live.h"
#include "decoder/replay/maps_part.h"
#include "decoder/replay/prepass.h"

struct place *place_of(struct maps *maps, uint64_t id)
{
  return table_get(&maps->place_by_id, id);
}

struct place *place_make(struct maps *maps, uint64_t id)
{
  struct place *place = place_of(maps, id);
  if (place) return place;
  if ((maps->places & (maps->places - 1)) == 0)
    maps->place = read_realloc(maps->place, (maps->places ? maps->places * 2 : 1) * sizeof *maps->place);
  place = maps->place[maps->places++] = model_alloc(sizeof *place);
  place->id = id;
  table_put(&maps->place_by_id, id, place);
  return place;
}

/* --- what the prepass tells --- */

static void take_chars(uint8_t *to, size_t size, const struct value *value)
{
  if (value->what == VALUE_BYTES && value->bytes) memcpy(to, value->bytes, value->kept < size ? value->kept : size);
}

static void take_token(struct place *place, const struct value *info)
{
  const struct p11_struct *about = p11_struct_info(P11_S_CK_TOKEN_INFO);
  if (place->has_token || info->what != VALUE_STRUCT || info->structure != P11_S_CK_TOKEN_INFO) return;
  place->has_token = true;
  for (size_t i = 0; i < info->count; i++) {
    const struct value *v = &info->item[i];
    const char *name = v->member < about->count ? about->field[v->member].name : "";
    if (!strcmp(name, "label")) take_chars(place->label, sizeof place->label, v);
    if (!strcmp(name, "serialNumber")) take_chars(place->serial, sizeof place->serial, v);
    if (!strcmp(name, "model")) take_chars(place->model, sizeof place->model, v);
    if (!strcmp(name, "flags")) place->initialised = v->number & CKF_TOKEN_INITIALIZED;
  }
}

void maps_foresee(struct player *player, const struct call *call)
{
  struct maps *maps = player->maps;
  if (call->rv != CKR_OK) return;
  const struct value *list = &call->arg[1].out;
  switch (call->known) {
    case P11_F_C_GetSlotList:
      for (size_t i = 0; i < list->count; i++) place_make(maps, list->item[i].number)->known = true;
      break;
    case P11_F_C_GetTokenInfo:
      place_make(maps, call->arg[0].in.number)->known = true;
      take_token(place_of(maps, call->arg[0].in.number), &call->arg[1].out);
      break;
    case P11_F_C_OpenSession:
    case P11_F_C_GetSlotInfo: place_make(maps, call->arg[0].in.number)->known = true; break;
    default: break;
  }
}

/* --- pairing --- */

static void pair(struct maps *maps, struct place *place, uint64_t now)
{
  place->now = now;
  place->paired = place->was_paired = true;
  place->lost = 0;
  table_put(&maps->slot_now, now, place);
}

/* options->slot, once. */
static void read_fixed(struct player *player)
{
  struct maps *maps = player->maps;
  if (maps->fixed_read) return;
  maps->fixed_read = true;
  for (const char *const *s = player->options->slot; s && *s; s++) {
    char *end;
    const uint64_t id = strtoull(*s, &end, 0);
    if (*end != '=') continue;
    struct place *place = place_make(maps, id);
    pair(maps, place, strtoull(end + 1, NULL, 0));
    place->fixed = place->known = true;
  }
}

/* A slot of today's that stands for none yet. */
struct candidate {
  uint64_t id;
  bool taken, has_token;
  CK_TOKEN_INFO token;
};

static bool same_text(const uint8_t *a, const uint8_t *b, size_t size)
{
  bool blank = true;
  for (size_t i = 0; i < size; i++) blank &= a[i] == ' ' || a[i] == 0;
  return !blank && !memcmp(a, b, size);
}

static unsigned fit(const struct place *place, const struct candidate *c)
{
  if (!place->has_token || !c->has_token) return 0;
  return same_text(place->label, c->token.label, sizeof place->label) * 8u +
         same_text(place->serial, c->token.serialNumber, sizeof place->serial) * 4u +
         same_text(place->model, c->token.model, sizeof place->model) * 2u +
         (place->initialised == !!(c->token.flags & CKF_TOKEN_INITIALIZED));
}

static void pair_best(struct player *player, struct place **place, size_t places, struct candidate *c, size_t count)
{
  const CK_FUNCTION_LIST_3_2 *functions = target_functions(player->target);
  /* A single one on either side needs no question. */
  if (places > 1 || count > 1)
    for (size_t i = 0; i < count; i++)
      c[i].has_token = functions->C_GetTokenInfo && functions->C_GetTokenInfo(c[i].id, &c[i].token) == CKR_OK;
  for (unsigned wanted = 16; wanted-- > 0;) {
    for (size_t i = 0; i < places; i++) {
      for (size_t k = 0; k < count && !place[i]->paired; k++) {
        if (c[k].taken || fit(place[i], &c[k]) < wanted) continue;
        c[k].taken = true;
        pair(player->maps, place[i], c[k].id);
      }
    }
  }
}

static void pair_lists(struct player *player, struct place **place, size_t places, const uint64_t *now,
                       size_t now_count)
{
  struct maps *maps = player->maps;
  if (!places) return;
  struct candidate *c = model_alloc((now_count + 1) * sizeof *c);
  size_t count = 0;
  for (size_t i = 0; i < now_count; i++)
    if (!table_get(&maps->slot_now, now[i])) c[count++].id = now[i];
  pair_best(player, place, places, c, count);
  free(c);
  for (size_t i = 0; i < places; i++)
    if (!place[i]->paired) place[i]->lost = maps->at ? number_of(maps->at) : 0;
}

void maps_pair_slots(struct player *player, const uint64_t *recorded, size_t recorded_count, const uint64_t *now,
                     size_t now_count)
{
  struct maps *maps = player->maps;
  read_fixed(player);
  struct place **open = model_alloc((recorded_count + 1) * sizeof *open);
  size_t count = 0;
  for (size_t i = 0; i < recorded_count; i++) {
    struct place *place = place_make(maps, recorded[i]);
    place->known = true;
    if (!place->paired) open[count++] = place;
  }
  pair_lists(player, open, count, now, now_count);
  free(open);
}

/* The trace begins later, or the application knows its slots without a C_GetSlotList. False: the module says nothing of its
 * slots, because it is not initialised. */
static bool pair_all(struct player *player)
{
  struct maps *maps = player->maps;
  const CK_FUNCTION_LIST_3_2 *functions = target_functions(player->target);
  CK_ULONG count = 0;
  if (!functions->C_GetSlotList || functions->C_GetSlotList(CK_FALSE, NULL, &count) != CKR_OK || count > 65536)
    return false;
  CK_SLOT_ID *list = model_alloc((count + 1) * sizeof *list);
  if (functions->C_GetSlotList(CK_FALSE, list, &count) != CKR_OK) count = 0;
  uint64_t *now = model_alloc((count + 1) * sizeof *now);
  for (CK_ULONG i = 0; i < count; i++) now[i] = list[i];
  struct place **open = model_alloc((maps->places + 1) * sizeof *open);
  size_t places = 0;
  for (size_t i = 0; i < maps->places; i++)
    if (maps->place[i]->known && !maps->place[i]->paired) open[places++] = maps->place[i];
  pair_lists(player, open, places, now, count);
  free(open);
  free(now);
  free(list);
  return true;
}

bool maps_slot(struct player *player, uint64_t recorded, uint64_t *now, uint64_t *why)
{
  struct maps *maps = player->maps;
  read_fixed(player);
  *why = 0;
  *now = recorded;
  struct place *place = place_of(maps, recorded);
  if (place && place->known && !place->paired && !place->lost) {
    if (!pair_all(player)) {
      if (place->was_paired) *now = place->now;
      return true;
    }
    if (!place->paired && !place->lost) place->lost = maps->at ? number_of(maps->at) : 0;
  }
  if (place && place->paired) {
    *now = place->now;
    return true;
  }
  if (place && place->known) {
    *why = place->lost;
    return false;
  }
  /* A slot that the recorded module did not have either. */
  while (table_get(&maps->slot_now, *now)) *now += 0x10000001u;
  return true;
}
