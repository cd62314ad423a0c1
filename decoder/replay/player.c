/* A recorded process from its beginning to its end. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "decoder/replay/lost.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/payload.h"
#include "decoder/replay/player_part.h"
#include "decoder/replay/portrait.h"
#include "decoder/replay/prepass.h"
#include "decoder/replay/widen.h"

volatile sig_atomic_t play_interrupted;

static void on_signal(int number)
{
  (void)number;
  play_interrupted = 1;
}

bool play_stopped(const struct play *play)
{
  return atomic_load_explicit(&play->stop, memory_order_relaxed) || play_interrupted;
}

void play_stop(struct play *play, bool guarded, const char *why)
{
  struct player *player = &play->player;
  pthread_mutex_lock(&player->lock);
  if (!player->results->stopped[0]) {
    snprintf(player->results->stopped, sizeof player->results->stopped, "%s", why);
    player->results->guarded = guarded;
  }
  atomic_store(&play->stop, true);
  pthread_mutex_unlock(&player->lock);
}

void play_sleep(const struct play *play, uint64_t ns)
{
  /* In pieces: whoever wants it to stop need not wait. */
  while (play->player.options->recorded_speed && ns && !play_stopped(play)) {
    const uint64_t piece = ns < 100000000u ? ns : 100000000u;
    nanosleep(&(struct timespec){.tv_nsec = (long)piece}, NULL);
    ns -= piece;
  }
}

/* Time that passed outside the module since the call before, as far as it is known. */
struct pauses {
  uint64_t end;
};

static uint64_t pause_before(struct pauses *pauses, const struct call *call)
{
  const uint64_t before = pauses->end;
  if (call->end > pauses->end) pauses->end = call->end;
  return before && call->start > before ? call->start - before : 0;
}

/* Is the call one that the application made of this module, and that is to be made again? */
static bool is_ours(const struct play *play, const struct event *event, unsigned index)
{
  return event->type == EVENT_CALL && event->process->index == index && !call_is_probe(event->call) &&
         choose_takes(play->player.options, event->process, event->call->module);
}

static const char *why_not(struct play *play, const struct event *event)
{
  const struct call *call = event->call;
  if (call->state == CALL_HEADLESS) return "its beginning is not in the trace";
  if (call->state == CALL_ABANDONED)
    return "it did not return: the application left it by an exception or its thread ended";
  const struct filter *calls = play->player.options->calls;
  if (calls && !filter_match(calls, event)) return "left out by --calls";
  return NULL;
}

/* Behind --until: calls that began earlier may still return. */
enum { UNTIL_BEHIND = 4096 };

static bool behind_until(struct play *play, const struct call *call)
{
  const uint64_t until = play->player.options->until;
  if (!until || call->number <= until) return false;
  char text[64];
  snprintf(text, sizeof text, "--until %" PRIu64, until);
  if (call->number > until + UNTIL_BEHIND) {
    play_stop(play, false, text);
  } else {
    struct results *results = play->player.results;
    pthread_mutex_lock(&play->player.lock);
    if (!results->stopped[0]) snprintf(results->stopped, sizeof results->stopped, "%s", text);
    pthread_mutex_unlock(&play->player.lock);
  }
  return true;
}

static void one(struct play *play, const struct mode *mode, void *state, struct opens *opens, struct pauses *pauses,
                const struct event *event)
{
  const struct call *call = event->call;
  const uint64_t until = play->player.options->until;
  if (until && call->number > until + UNTIL_BEHIND) mode->settle(state); /* those before it are still made */
  if (behind_until(play, call)) return;
  const char *reason = why_not(play, event);
  if (play->player.options->calls) filter_see((struct filter *)(uintptr_t)play->player.options->calls, event);
  if (reason) {
    play_withhold(play, call, reason);
  } else if (call->state == CALL_OPEN) {
    opens_add(opens, call);
  } else {
    if (!play->seen_initialize || (play->player.options->prepare && !play->prepared))
      mode->settle(state), play_begin(play, call);
    if (!play_stopped(play)) mode->call(state, call, pause_before(pauses, call));
  }
}

static void all(struct play *play, struct trace_set *set, unsigned index)
{
  static const struct mode *const modes[] = {
      [REPLAY_SERIAL] = &play_serial, [REPLAY_RELAY] = &play_relay, [REPLAY_FREE] = &play_free};
  const struct mode *mode = modes[play->player.options->mode];
  void *state = mode->begin(play);
  struct opens *opens = opens_new();
  struct pauses pauses = {0};
  struct event event;
  while (!play_stopped(play) && !trace_next(set, &event)) {
    if (!is_ours(play, &event, index)) continue;
    widen(event.process, event.call);
    one(play, mode, state, opens, &pauses, &event);
  }
  mode->end(state);
  opens_play(opens, play);
  if (play_interrupted) play_stop(play, false, "interrupted");
  play_end(play);
}

static bool is_late(const struct process *process)
{
  static const uint8_t none[16];
  return process->complete_from > 1 || process->missing || memcmp(process->parent_id, none, sizeof none);
}

static void listen(void)
{
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
}

static bool ready(struct play *play, const char *const *paths, size_t count, unsigned index)
{
  struct player *player = &play->player;
  player->target = target_open(player->options->module);
  if (!player->target) {
    snprintf(player->results->error, sizeof player->results->error, "%s cannot be used as a module",
             player->options->module);
    return false;
  }
  player->maps = maps_new();
  player->payload = payload_new();
  play->guard = guard_new();
  return prepass(player, play->guard, paths, count, index);
}

static void drop(struct play *play)
{
  struct player *player = &play->player;
  verify_drop(player);
  if (player->portraits) portraits_free(player->portraits);
  if (player->payload) payload_free(player->payload);
  maps_free(player->maps);
  guard_free(play->guard);
  target_close(player->target);
  pthread_mutex_destroy(&player->lock);
}

bool replay_play(const char *const *paths, size_t count, unsigned index, const struct replay_options *options,
                 struct results *results)
{
  struct play play = {
      .player = {.options = options, .results = results}
  };
  pthread_mutex_init(&play.player.lock, NULL);
  listen();
  struct trace_set *set = NULL;
  bool fine = ready(&play, paths, count, index);
  if (fine) {
    set = trace_again(paths, count) ? trace_open(paths, count) : NULL;
    struct process *const *process;
    fine = set && index < trace_processes(set, &process);
    if (!fine) snprintf(results->error, sizeof results->error, "the trace cannot be read again");
    if (fine) {
      play.player.process = process[index];
      maps_late(play.player.maps, is_late(process[index]));
      all(&play, set, index);
      fine = !results->error[0];
    }
  }
  /* Threads that the module did not give back hold all of it. */
  if (!atomic_load(&play.stuck)) {
    drop(&play);
    if (set) trace_close(set);
  }
  return fine;
}
