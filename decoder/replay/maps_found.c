/* What searches find: the same objects, in any order. */
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/maps_part.h"
#include "decoder/replay/portrait.h"

/* Where the handle stands in the list; SIZE_MAX nowhere. */
static size_t where(const struct handles *list, uint64_t handle)
{
  for (size_t i = 0; i < list->count; i++)
    if (list->at[i] == handle) return i;
  return SIZE_MAX;
}

/* Objects whose pair is known: out of both lists. */
static void match_known(struct maps *maps, struct session *search)
{
  struct handles *recorded = &search->recorded, *now = &search->now;
  size_t left = 0;
  /* Modules find in the same order mostly; where they do not, a table makes long lists bearable. */
  struct table places = {0};
  if (now->count > 64)
    for (size_t i = 0; i < now->count; i++) table_put(&places, now->at[i], (void *)(i + 1));
  for (size_t i = 0; i < recorded->count; i++) {
    const struct life *life = life_of(maps, &maps->object, recorded->at[i]);
    size_t at = SIZE_MAX;
    if (life && life->to == UINT64_MAX && !life->lost && life->now != CK_INVALID_HANDLE) {
      at = places.room ? (uintptr_t)table_get(&places, life->now) - 1 : where(now, life->now);
    }
    if (at == SIZE_MAX)
      recorded->at[left++] = recorded->at[i];
    else
      now->at[at] = CK_INVALID_HANDLE; /* dropped below: places stay what they are until then */
  }
  recorded->count = left;
  table_clear(&places, NULL);
  left = 0;
  for (size_t i = 0; i < now->count; i++)
    if (now->at[i] != CK_INVALID_HANDLE) now->at[left++] = now->at[i];
  now->count = left;
}

/* May a pair be made of it: is it not paired for good with another, nor known to be missing? */
static bool is_open(const struct maps *maps, uint64_t recorded)
{
  const struct life *life = life_of(maps, &maps->object, recorded);
  if (life && life->to == UINT64_MAX && life->lost && life->made) return false;
  return !life || life->to != UINT64_MAX || life_is_weak(life);
}

static void pair(struct player *player, struct session *search, size_t recorded, size_t now, const struct call *call)
{
  maps_pair_object(player, search->recorded.at[recorded], search->now.at[now], call);
  handles_drop(&search->recorded, recorded);
  handles_drop(&search->now, now);
}

/* portrait_fits says less than the first of objects that are of another class or kind, and the second or more of those with the
 * same CKA_ID or value. */
enum { FITS_AT_ALL = -999, FITS_SURELY = 16 };

/* By what the trace knows of the objects: each takes the best of those that are left, the first of equals, that fits at least
 * so well. `open`: the search may still bring a better one, so it must be wholly or surely this one. */
static void match_portraits(struct player *player, struct session *search, uint64_t session, const struct call *call,
                            int least, bool open)
{
  const bool few = search->recorded.count * search->now.count <= 4096;
  for (size_t i = 0; i < search->recorded.count;) {
    const uint64_t handle = search->recorded.at[i];
    const struct portrait *portrait = player->portraits && is_open(player->maps, handle)
                                          ? portrait_of(player->portraits, handle, call->number)
                                          : NULL;
    size_t best = SIZE_MAX;
    int most = least - 1;
    for (size_t k = 0; portrait && k < search->now.count && (few || best == SIZE_MAX); k++) {
      bool wholly;
      const int fits = portrait_fits(player, portrait, session, search->now.at[k], &wholly);
      if (fits > most && (wholly || !open || fits >= FITS_SURELY)) most = fits, best = k;
    }
    if (best == SIZE_MAX)
      i++;
    else
      pair(player, search, i, best, call);
  }
}

/* What nothing is known of goes by its order. */
static void match_order(struct player *player, struct session *search, const struct call *call)
{
  for (size_t i = 0; i < search->recorded.count && search->now.count;) {
    const uint64_t handle = search->recorded.at[i];
    const bool unknown = !player->portraits || !portrait_of(player->portraits, handle, call->number);
    if (unknown && is_open(player->maps, handle))
      pair(player, search, i, 0, call);
    else
      i++;
  }
}

/* The module says that an object is of the class that was asked for, though it is not: it does not look, and what it hands out
 * first stands for what was first then. */
static void match_blind(struct player *player, struct session *search, uint64_t session, const struct call *call)
{
  const CK_FUNCTION_LIST_3_2 *f = target_functions(player->target);
  while (search->recorded.count && search->now.count && search->has_class && f->C_GetAttributeValue) {
    CK_ULONG class = 0;
    CK_ATTRIBUTE a = {CKA_CLASS, &class, sizeof class};
    const CK_RV rv = f->C_GetAttributeValue(session, search->now.at[0], &a, 1);
    if (rv != CKR_OK || a.ulValueLen != sizeof class || class == search->class) return;
    if (!is_open(player->maps, search->recorded.at[0])) return;
    pair(player, search, 0, 0, call);
  }
}

void maps_search_begins(struct session *search, const struct call *call)
{
  search->recorded.count = search->now.count = 0;
  search->because = search->explained = 0;
  search->has_class = search->misfits = false;
  maps_misfit_free(search->asked);
  search->asked = NULL;
  const struct value *in = &call->arg[1].in;
  for (size_t i = 0; i < in->count; i++) {
    if (in->item[i].number != CKA_CLASS || !in->item[i].count || in->item[i].item[0].what != VALUE_NUMBER) continue;
    search->has_class = true;
    search->class = in->item[i].item[0].number;
  }
}

/* `over`: of the recorded search; `both`: of today's too. */
static void match(struct player *player, struct session *search, uint64_t session, const struct call *call, bool over,
                  bool both)
{
  match_known(player->maps, search);
  if (!search->recorded.count || !search->now.count) return;
  if (both && search->recorded.count == 1 && search->now.count == 1) {
    if (is_open(player->maps, search->recorded.at[0])) pair(player, search, 0, 0, call);
    return;
  }
  match_portraits(player, search, session, call, 0, !over);
  match_order(player, search, call);
  /* As many as then, but some look otherwise: what does will show where it is looked at. */
  if (over && search->recorded.count == search->now.count)
    match_portraits(player, search, session, call, FITS_AT_ALL, false);
}

/* Takes out what cannot be alike because of an earlier call: recorded objects that were not made today, and those of today
 * that live on because their end was withheld. Returns the number of one such call, 0 when there is none. */
static uint64_t drop_explained(const struct maps *maps, struct session *search)
{
  uint64_t because = 0;
  size_t left = 0;
  for (size_t i = 0; i < search->recorded.count; i++) {
    const struct life *life = life_of(maps, &maps->object, search->recorded.at[i]);
    if (life && life->to == UINT64_MAX && life->lost && life->made)
      because = life->lost;
    else
      search->recorded.at[left++] = search->recorded.at[i];
  }
  search->recorded.count = left;
  left = 0;
  for (size_t i = 0; i < search->now.count; i++) {
    const uint64_t spared = maps->spared.count ? (uintptr_t)table_get(&maps->spared, search->now.at[i]) : 0;
    if (spared)
      because = spared;
    else
      search->now.at[left++] = search->now.at[i];
  }
  search->now.count = left;
  return because;
}

/* The search is not over, and nothing that fits is anywhere: what came instead. */
static void match_open(struct player *player, struct session *search, uint64_t session, const struct call *call)
{
  match_portraits(player, search, session, call, FITS_AT_ALL, false);
  match_blind(player, search, session, call);
}

/* How many of the recorded objects have no other of today's either. */
static size_t count_lost(const struct maps *maps, const struct handles *recorded)
{
  size_t lost = 0;
  for (size_t i = 0; i < recorded->count; i++) {
    const struct life *life = life_of(maps, &maps->object, recorded->at[i]);
    lost += !life || life->lost;
  }
  return lost;
}

static void pair_found(struct player *player, uint64_t session, const struct call *call, const uint64_t *now,
                       size_t count, size_t *missing, size_t *more)
{
  struct maps *maps = player->maps;
  *missing = *more = 0;
  struct life *life = life_of(maps, &maps->session, session);
  if (!life || life->lost) return;
  struct session *search = life->session;
  const bool final = call->known == P11_F_C_FindObjectsFinal;
  bool over = false, both = false;
  if (!final) {
    const struct value *found = &call->arg[1].out;
    for (size_t i = 0; i < found->count; i++) handles_add(&search->recorded, found->item[i].number);
    for (size_t i = 0; i < count; i++) handles_add(&search->now, now[i]);
    const uint64_t asked = call->arg[2].in.number;
    over = found->count < asked;
    both = over && count < asked;
  }
  match(player, search, life->now, call, over, both);
  const uint64_t because = drop_explained(maps, search);
  if (because) search->because = because;
  search->explained = search->recorded.count || search->now.count ? 0 : search->because;
  if (!over && search->recorded.count) {
    maps_look_around(player, search, call);
    match_known(maps, search);
    match_open(player, search, life->now, call);
  }
  maps_misfit_look(player, search, life->now, call, now, count);
  /* Until it is found. */
  for (size_t i = 0; i < search->recorded.count; i++) maps_lose_found(maps, search->recorded.at[i], call);
  if (!over && !final) return;
  /* Where the application ended the search before it had all, which ones it had is the module's own affair. */
  *missing = over ? search->recorded.count : count_lost(maps, &search->recorded);
  *more = over ? search->now.count : 0;
  search->recorded.count = search->now.count = 0;
}

void maps_pair_found(struct player *player, uint64_t session, const struct call *call, const uint64_t *now,
                     size_t count, size_t *missing, size_t *more)
{
  player->maps->at_end = call->end_number != 0;
  pair_found(player, session, call, now, count, missing, more);
  player->maps->at_end = false;
}
