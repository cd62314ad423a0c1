#include <stdlib.h>
#include <string.h>

#include "decoder/replay/maps_part.h"

struct maps *maps_new(void)
{
  struct maps *maps = model_alloc(sizeof *maps);
  maps->most = OBJECTS_KEPT;
  return maps;
}

void maps_at(struct maps *maps, const struct call *call)
{
  maps->at = call;
}

void maps_late(struct maps *maps, bool late)
{
  maps->late = late;
}

uint64_t number_of(const struct call *call)
{
  return call->number ? call->number : call->end_number;
}

/* --- today's numbers --- */

static void now_add(struct table *now, uint64_t handle)
{
  const uintptr_t count = (uintptr_t)table_get(now, handle);
  table_put(now, handle, (void *)(count + 1));
}

static void now_drop(struct table *now, uint64_t handle)
{
  const uintptr_t count = (uintptr_t)table_get(now, handle);
  if (count > 1)
    table_put(now, handle, (void *)(count - 1));
  else
    table_take(now, handle);
}

bool life_is_today(const struct side *side, uint64_t now)
{
  return table_get(&side->now, now) != NULL;
}

void life_move(struct side *side, struct life *life, uint64_t now)
{
  if (!life->lost) now_drop(&side->now, life->now);
  life->now = now;
  life->lost = 0;
  now_add(&side->now, now);
}

/* --- lives --- */

struct life *life_of(const struct maps *maps, const struct side *side, uint64_t handle)
{
  struct life *life = table_get(&side->recorded, handle);
  const uint64_t at = !maps->at ? UINT64_MAX : maps->at_end ? maps->at->end_number : number_of(maps->at);
  while (life && life->from > at) life = life->older;
  return life;
}

/* A call that began before the end of the life saw it alive. */
static bool life_lasts(const struct maps *maps, const struct life *life)
{
  return life->to == UINT64_MAX || (maps->at && maps->at->number && maps->at->number < life->to);
}

static void session_wipe(struct session *session)
{
  const struct handles recorded = session->recorded, now = session->now;
  maps_misfit_free(session->asked);
  *session = (struct session){
      .recorded = {recorded.at, 0, recorded.room},
        .now = {now.at,      0, now.room     }
  };
}

/* Takes a life that ended out of its chain. */
static void life_forget(struct maps *maps, struct life *life)
{
  struct side *side = life->session ? &maps->session : &maps->object;
  struct life *newest = table_get(&side->recorded, life->handle);
  if (newest == life) {
    if (life->older)
      table_put(&side->recorded, life->handle, life->older);
    else
      table_take(&side->recorded, life->handle);
  } else {
    while (newest && newest->older != life) newest = newest->older;
    if (newest) newest->older = life->older;
  }
  if (life->session) {
    session_wipe(life->session);
    life->session->spare = maps->spare_session;
    maps->spare_session = life->session;
  }
  *life = (struct life){.older = maps->spare};
  maps->spare = life;
}

static void leave_owner(struct life *life)
{
  if (!life->owner) return;
  if (life->previous)
    life->previous->next = life->next;
  else
    life->owner->session->objects = life->next;
  if (life->next) life->next->previous = life->previous;
  life->owner = life->next = life->previous = NULL;
}

void life_end(struct maps *maps, struct side *side, struct life *life, uint64_t number)
{
  if (life->to != UINT64_MAX) return;
  life->to = number;
  if (!life->lost) now_drop(&side->now, life->now);
  leave_owner(life);
  if (life->session) {
    /* "When a session is closed, all session objects created by the session are destroyed" (PKCS #11 3.0, 5.6.2). */
    while (life->session->objects) life_end(maps, &maps->object, life->session->objects, number);
    if (life->session->place && life->session->place->sessions && !--life->session->place->sessions) {
      /* With the last session the login ends, and objects may get other handles. */
      life->session->place->epoch++;
      life->session->place->era++;
      life->session->place->no_login = 0;
    }
  }
  struct life **kept = &maps->ended[maps->ended_at++ % ENDED_KEPT];
  if (*kept) life_forget(maps, *kept);
  *kept = life;
}

/* A module that gives new handles to old objects would fill the memory: those that may be over are given up. */
static void sweep(struct maps *maps, uint64_t number)
{
  struct table *all = &maps->object.recorded;
  if (all->count < maps->most) return;
  struct handles weak = {0};
  size_t place = 0;
  for (struct life *life; (life = table_next(all, &place));)
    if (life_is_weak(life)) handles_add(&weak, life->handle);
  for (size_t i = 0; i < weak.count; i++) life_end(maps, &maps->object, table_get(all, weak.at[i]), number);
  free(weak.at);
  maps->most = all->count * 2 > OBJECTS_KEPT ? all->count * 2 : OBJECTS_KEPT;
}

static struct life *life_new(struct maps *maps, bool is_session)
{
  struct life *life = maps->spare;
  if (life)
    maps->spare = life->older;
  else
    life = model_alloc(sizeof *life);
  *life = (struct life){.to = UINT64_MAX};
  if (!is_session) return life;
  life->session = maps->spare_session;
  if (!life->session) {
    life->session = model_alloc(sizeof *life->session);
  } else {
    maps->spare_session = life->session->spare;
    life->session->spare = NULL;
  }
  return life;
}

struct life *life_begin(struct maps *maps, struct side *side, uint64_t handle, uint64_t now, const struct call *call,
                        uint64_t lost)
{
  const uint64_t from = call->end_number ? call->end_number : call->number;
  if (side == &maps->object) sweep(maps, from);
  struct life *before = table_get(&side->recorded, handle);
  if (before && before->to == UINT64_MAX && before->from <= from) life_end(maps, side, before, from);
  struct life *life = life_new(maps, side == &maps->session);
  life->handle = handle;
  life->now = now;
  life->from = from;
  life->lost = lost;
  /* The newest comes first; threads that go their own way may show an older one after it. */
  before = table_get(&side->recorded, handle);
  if (!before || before->from <= from) {
    life->older = before;
    table_put(&side->recorded, handle, life);
  } else {
    while (before->older && before->older->from > from) before = before->older;
    life->older = before->older;
    before->older = life;
  }
  if (!lost) now_add(&side->now, now);
  return life;
}

bool life_is_weak(const struct life *life)
{
  return life->lost || !life->place || life->place->epoch != life->epoch;
}

struct life *session_of(const struct maps *maps, const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_SESSION) return life_of(maps, &maps->session, call->arg[i].in.number);
  return NULL;
}

/* --- lists --- */

void handles_add(struct handles *list, uint64_t handle)
{
  if (list->count == list->room) {
    list->room = list->room ? list->room * 2 : 16;
    list->at = read_realloc(list->at, list->room * sizeof *list->at);
  }
  list->at[list->count++] = handle;
}

void handles_drop(struct handles *list, size_t at)
{
  memmove(&list->at[at], &list->at[at + 1], (--list->count - at) * sizeof *list->at);
}

/* --- questions --- */

/* Did the recorded module say that a handle was none? */
static bool said_invalid(const struct call *call)
{
  if (!call) return false;
  switch (call->rv) {
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_KEY_HANDLE_INVALID:
    case CKR_UNWRAPPING_KEY_HANDLE_INVALID:
    case CKR_WRAPPING_KEY_HANDLE_INVALID: return true;
    default: return false;
  }
}

/* A number that is no handle of today's. The module has more than those that we know of: where the recorded one was wrong,
 * one that no module gives out. */
static uint64_t no_handle(const struct maps *maps, const struct side *side, uint64_t recorded)
{
  uint64_t number = said_invalid(maps->at) ? recorded ^ 0x5AD00000u : recorded;
  while (!number || life_is_today(side, number)) number += 0x10000001u;
  return number;
}

/* A handle that was dead is given as the number that it stood for, to see whether it is dead today as well. But the module
 * may have given that number to another session or object, which nothing must happen to. */
static bool is_harmless(const struct player *player, const struct side *side, const struct life *life)
{
  const struct call *call = player->maps->at;
  if (!call || player->options->destructive) return true;
  const bool ends_object = call->known == P11_F_C_DestroyObject || call->known == P11_F_C_SetAttributeValue;
  /* Objects that were never seen may have it. */
  if (side == &player->maps->object) return !ends_object;
  return !life_is_today(side, life->now) ||
         (call->info->class != P11_CLASS_SESSION && call->info->class != P11_CLASS_LOGIN);
}

static bool ask(const struct player *player, const struct side *side, uint64_t recorded, uint64_t *now, uint64_t *why)
{
  const struct maps *maps = player->maps;
  *why = 0;
  *now = recorded;
  if (recorded == CK_INVALID_HANDLE) return true;
  const struct life *life = life_of(maps, side, recorded);
  if (!life) {
    *now = no_handle(maps, side, recorded);
  } else if (life->lost) {
    *why = life->lost;
    /* Where the application used it after its end the answer does not depend on whether it ever was there. */
    if (life_lasts(maps, life)) return false;
    *now = no_handle(maps, side, recorded);
  } else if (life_lasts(maps, life)) {
    *now = life->now;
  } else {
    *now = is_harmless(player, side, life) ? life->now : no_handle(maps, side, recorded);
  }
  return true;
}

bool maps_session(struct player *player, uint64_t recorded, uint64_t *now, uint64_t *why)
{
  return ask(player, &player->maps->session, recorded, now, why);
}

bool maps_object(struct player *player, uint64_t recorded, uint64_t *now, uint64_t *why)
{
  return ask(player, &player->maps->object, recorded, now, why);
}

bool maps_object_made(struct player *player, uint64_t recorded)
{
  const struct life *life = life_of(player->maps, &player->maps->object, recorded);
  /* When all sessions have been closed the module may give the number to another object. */
  return life && !life->lost && life->made && life->place && life->place->era == life->era;
}

bool maps_object_none(struct player *player, uint64_t recorded)
{
  const struct life *life = life_of(player->maps, &player->maps->object, recorded);
  return recorded == CK_INVALID_HANDLE ||
         (said_invalid(player->maps->at) && (!life || !life_lasts(player->maps, life)));
}

bool maps_session_slot(struct player *player, uint64_t recorded, uint64_t *slot)
{
  const struct life *life = life_of(player->maps, &player->maps->session, recorded);
  if (!life || !life->session->place) return false;
  *slot = life->session->place->id;
  return true;
}

bool maps_slot_has_session(struct player *player, uint64_t slot)
{
  size_t place = 0;
  for (const struct life *life; (life = table_next(&player->maps->session.recorded, &place));)
    if (life->to == UINT64_MAX && !life->lost && life->session->place && life->session->place->id == slot) return true;
  return false;
}

/* --- the end --- */

static void side_clear(struct side *side, bool with_sessions)
{
  size_t place = 0;
  for (struct life *life; (life = table_next(&side->recorded, &place));) {
    for (struct life *older; life; life = older) {
      older = life->older;
      if (with_sessions) {
        free(life->session->recorded.at);
        free(life->session->now.at);
        maps_misfit_free(life->session->asked);
        free(life->session);
      }
      free(life);
    }
  }
  table_clear(&side->recorded, NULL);
  table_clear(&side->now, NULL);
}

/* Everything that ends with C_Finalize. */
static void forget(struct maps *maps)
{
  side_clear(&maps->session, true);
  side_clear(&maps->object, false);
  memset(maps->ended, 0, sizeof maps->ended);
  table_clear(&maps->spared, NULL);
}

static void end_all(struct maps *maps, struct side *side, uint64_t number)
{
  struct handles all = {0};
  size_t place = 0;
  for (struct life *life; (life = table_next(&side->recorded, &place));)
    if (life->to == UINT64_MAX) handles_add(&all, life->handle);
  for (size_t i = 0; i < all.count; i++) {
    struct life *life = table_get(&side->recorded, all.at[i]);
    if (life) life_end(maps, side, life, number);
  }
  free(all.at);
}

void maps_finalized(struct maps *maps, uint64_t number)
{
  end_all(maps, &maps->object, number);
  end_all(maps, &maps->session, number);
  table_clear(&maps->spared, NULL);
  table_clear(&maps->slot_now, NULL);
  for (size_t i = 0; i < maps->places; i++) {
    struct place *place = maps->place[i];
    place->sessions = 0;
    place->no_login = place->lost = 0;
    place->epoch++;
    if (place->fixed)
      table_put(&maps->slot_now, place->now, place);
    else
      place->paired = false;
  }
}

void maps_free(struct maps *maps)
{
  if (!maps) return;
  forget(maps);
  for (struct life *life; (life = maps->spare);) {
    maps->spare = life->older;
    free(life);
  }
  for (struct session *session; (session = maps->spare_session);) {
    maps->spare_session = session->spare;
    free(session->recorded.at);
    free(session->now.at);
    maps_misfit_free(session->asked);
    free(session);
  }
  for (size_t i = 0; i < maps->places; i++) free(maps->place[i]);
  free(maps->place);
  table_clear(&maps->place_by_id, NULL);
  table_clear(&maps->slot_now, NULL);
  free(maps);
}
