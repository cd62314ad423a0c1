/* One call: withheld, or made, compared and learnt from. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "decoder/replay/lost.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/player_part.h"
#include "decoder/replay/portrait.h"
#include "decoder/replay/undo.h"

void play_withhold(struct play *play, const struct call *call, const char *reason)
{
  struct player *player = &play->player;
  pthread_mutex_lock(&player->lock);
  maps_at(player->maps, call);
  results_withheld(player->results, call, reason);
  if (call->known >= 0 && call->state != CALL_OPEN) {
    lost_note(player, call, false, CKR_OK);
    maps_lost(player, call);
  }
  pthread_mutex_unlock(&player->lock);
}

/* A C_WaitForSlotEvent that blocks waits for somebody who puts a card in. Nobody does, but C_Finalize ends it too, and then it
 * can be made, beside the other threads. */
static const char *withholds_wait(const struct play *play, const struct call *call)
{
  if (call->known != P11_F_C_WaitForSlotEvent || call->arg[0].in.number & CKF_DONT_BLOCK) return NULL;
  if (call->rv == CKR_OK) return "it waited until a card was put in or taken out";
  if (play->player.options->mode != REPLAY_FREE && call->rv == CKR_CRYPTOKI_NOT_INITIALIZED)
    return "it blocked until C_Finalize: --mode free makes it";
  return NULL;
}

/* Lays the call out; the reason when it must not or cannot be made. */
static const char *lay_out(struct play *play, struct worker *worker, const struct call *call)
{
  struct player *player = &play->player;
  const char *reason = withholds_wait(play, call);
  if (!reason) reason = guard_withholds(play->guard, player, call);
  if (!reason) reason = lost_reason(player, call, worker->text, sizeof worker->text);
  if (!reason) reason = live_build(&worker->live, player, call);
  return reason;
}

static void enter_module(const struct play *play, const struct worker *worker, const struct call *call)
{
  struct results *results = play->player.results;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* for a watchdog that counts in seconds */
  const uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
  atomic_store_explicit(&results->thread[worker->place].call, call->number, memory_order_relaxed);
  atomic_store_explicit(&results->thread[worker->place].function, (uint32_t)call->known, memory_order_relaxed);
  atomic_store_explicit(&results->thread[worker->place].since, now, memory_order_release);
}

static void leave_module(const struct play *play, const struct worker *worker)
{
  atomic_store_explicit(&play->player.results->thread[worker->place].since, 0, memory_order_release);
}

static void into_module(struct play *play, struct worker *worker)
{
  enter_module(play, worker, worker->live.call);
  target_call(play->player.target, &worker->live);
  leave_module(play, worker);
}

/* As if it had failed as it did then. What stays all the same is an excuse for later searches. */
static void take_back(struct play *play, const struct worker *worker, const struct call *call, struct undo *undo)
{
  struct player *player = &play->player;
  enter_module(play, worker, call);
  undo_make(undo, target_functions(player->target));
  leave_module(play, worker);
  pthread_mutex_lock(&player->lock);
  for (unsigned i = 0; i < undo->objects; i++) maps_spare(player, undo->object[i], call);
  pthread_mutex_unlock(&player->lock);
}

static void take_in(struct play *play, struct worker *worker)
{
  struct player *player = &play->player;
  struct live *live = &worker->live;
  const struct call *call = live->call;
  struct difference found[LIVE_DIFFERENCES];
  unsigned count = 0;
  const char *reason = NULL;
  pthread_mutex_lock(&player->lock);
  maps_at(player->maps, call);
  enum outcome outcome = live_compare(live, player, found, &count, &reason);
  if (outcome == OUTCOME_DIFFERENT) {
    const char *excuse = lost_excuse(player, call, live->rv, worker->text, sizeof worker->text);
    if (excuse) outcome = OUTCOME_INCOMPARABLE, reason = excuse;
  }
  struct undo undo;
  const bool too_much = undo_find(&undo, live);
  lost_note(player, call, true, live->rv);
  live_learn(live, player);
  results_add(player->results, live, outcome, found, count, reason);
  pthread_mutex_unlock(&player->lock);
  if (too_much) take_back(play, worker, call, &undo);
}

/* What C_Initialize and C_Finalize change for all that follows. */
static void after_general(struct play *play, const struct live *live)
{
  if (live->call->known == P11_F_C_Finalize && live->rv == CKR_OK) atomic_store(&play->initialised, 0);
  if (live->call->known != P11_F_C_Initialize) return;
  if (live->rv == CKR_OK || live->rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    atomic_store(&play->initialised, 1);
  } else if (live->call->rv == CKR_OK && !atomic_load(&play->initialised)) {
    const char *name = p11_constant_name(P11_DOM_CKR, live->rv);
    char text[200];
    snprintf(text, sizeof text, "at #%" PRIu64 " C_Initialize failed (%s): no call after it can be made",
             live->call->number, name ? name : "an unknown code");
    play_stop(play, false, text);
  }
}

void play_call(struct play *play, struct worker *worker, const struct call *call)
{
  struct player *player = &play->player;
  if (call->known < 0) {
    play_withhold(play, call, "this p11trace does not know the function");
    return;
  }
  pthread_mutex_lock(&player->lock);
  maps_at(player->maps, call);
  const char *reason = lay_out(play, worker, call);
  pthread_mutex_unlock(&player->lock);
  if (reason) {
    play_withhold(play, call, reason);
    return;
  }
  const bool has_pin = guard_concerns(call);
  char text[sizeof player->results->stopped];
  const char *stop = has_pin ? guard_enter(player, call, text, sizeof text) : NULL;
  if (stop || (has_pin && play_stopped(play))) {
    guard_leave(play->guard, player, NULL);
    if (stop) play_stop(play, true, stop);
    return;
  }
  into_module(play, worker);
  take_in(play, worker);
  if (has_pin) {
    /* Stopped before the next login has its turn. */
    stop = guard_refused(&worker->live, text, sizeof text);
    if (stop) play_stop(play, true, stop);
    guard_leave(play->guard, player, &worker->live);
  }
  if (call->info->group == P11_GROUP_GENERAL) after_general(play, &worker->live);
}

/* --- the beginning and the end --- */

/* A trace that begins late, or in a child of fork, calls a module that is initialised already. */
static bool needs_initialised(const struct call *call)
{
  switch (call->known) {
    case P11_F_C_Initialize:
    case P11_F_C_Finalize:
    case P11_F_C_GetFunctionList:
    case P11_F_C_GetInterface:
    case P11_F_C_GetInterfaceList: return false;
    default: return call->rv != CKR_CRYPTOKI_NOT_INITIALIZED;
  }
}

static void initialise(struct play *play)
{
  struct player *player = &play->player;
  const CK_FUNCTION_LIST_3_2 *functions = target_functions(player->target);
  CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
  /* NSS's member of the structure, which the modules that want it read behind `flags`. */
  const char *parameters = player->options->parameters;
  union {
    CK_C_INITIALIZE_ARGS args;
    struct {
      void *functions[4];
      CK_FLAGS flags;
      const char *parameters;
    } nss;
  } given = {.args = args};
  if (parameters) given.nss.parameters = parameters;
  const CK_RV rv = functions->C_Initialize ? functions->C_Initialize(&given) : CKR_FUNCTION_NOT_SUPPORTED;
  if (rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    atomic_store(&play->initialised, 1);
    return;
  }
  const char *name = p11_constant_name(P11_DOM_CKR, rv);
  snprintf(player->results->error, sizeof player->results->error,
           "the trace begins after C_Initialize, and the module refuses it today (%s)",
           name ? name : "an unknown code");
  atomic_store(&play->stop, true);
}

void play_begin(struct play *play, const struct call *call)
{
  if (call->known == P11_F_C_Initialize) play->seen_initialize = true;
  if (!play->seen_initialize && !atomic_load(&play->initialised) && needs_initialised(call)) {
    play->seen_initialize = true;
    initialise(play);
  }
  struct player *player = &play->player;
  if (!player->options->prepare || play->prepared || !atomic_load(&play->initialised)) return;
  play->prepared = true;
  const int made = prepare(player);
  if (made < 0)
    atomic_store(&play->stop, true);
  else
    player->results->prepared = (uint64_t)made;
}

void play_end(struct play *play)
{
  const CK_FUNCTION_LIST_3_2 *functions = target_functions(play->player.target);
  /* A thread that is in the module still would be pulled the ground from under. */
  if (atomic_load(&play->initialised) && !atomic_load(&play->stuck) && functions->C_Finalize)
    functions->C_Finalize(NULL);
}
