/* Calls that had not returned when the trace ended. Nothing is known of their answer, but whether the module comes back from
 * them today is worth knowing of a trace that ends inside one. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "decoder/model/table.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/player_part.h"

enum { OPENS = 64 };

struct open_one {
  struct play *play;
  struct call call;
  struct arena memory;
  struct worker worker;
  pthread_t thread;
  bool runs;
};

struct opens {
  struct open_one *one[OPENS];
  unsigned count;
  uint64_t more;
};

struct opens *opens_new(void)
{
  return model_alloc(sizeof(struct opens));
}

void opens_add(struct opens *opens, const struct call *call)
{
  if (opens->count == OPENS) {
    opens->more++;
    return;
  }
  struct open_one *one = opens->one[opens->count++] = model_alloc(sizeof *one);
  call_copy(&one->call, call, &one->memory);
}

static void *make(void *argument)
{
  struct open_one *one = argument;
  target_call(one->play->player.target, &one->worker.live);
  return NULL;
}

static const char *lay_out(struct play *play, struct open_one *one)
{
  struct player *player = &play->player;
  const struct call *call = &one->call;
  if (call->known < 0) return "this p11trace does not know the function";
  if (!atomic_load(&play->initialised) && play->seen_initialize)
    return "it had not returned when the trace ended, which was after C_Finalize";
  if (guard_concerns(call)) return "it had not returned when the trace ended: its PIN may not have been the right one";
  if (call->known == P11_F_C_WaitForSlotEvent && !(call->arg[0].in.number & CKF_DONT_BLOCK))
    return "it waited for a card when the trace ended";
  if (call->known == P11_F_C_Finalize) return "it had not returned when the trace ended";
  pthread_mutex_lock(&player->lock);
  maps_at(player->maps, call);
  const char *reason = guard_withholds(play->guard, player, call);
  if (!reason) reason = live_build(&one->worker.live, player, call);
  pthread_mutex_unlock(&player->lock);
  return reason;
}

static void finish(struct play *play, struct open_one *one, const struct timespec *until)
{
  struct player *player = &play->player;
  char text[160];
  if (pthread_timedjoin_np(one->thread, NULL, until) != 0) {
    atomic_fetch_add(&play->stuck, 1);
    snprintf(text, sizeof text, "it had not returned when the trace ended, nor did it within %u s today",
             player->options->timeout);
    play_withhold(play, &one->call, text);
    return;
  }
  const char *name = p11_constant_name(P11_DOM_CKR, one->worker.live.rv);
  snprintf(text, sizeof text, "it had not returned when the trace ended; today it returned %s",
           name ? name : "an unknown code");
  pthread_mutex_lock(&player->lock);
  results_add(player->results, &one->worker.live, OUTCOME_INCOMPARABLE, NULL, 0, text);
  pthread_mutex_unlock(&player->lock);
  one->runs = false;
}

void opens_play(struct opens *opens, struct play *play)
{
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until); /* what pthread_timedjoin_np counts in */
  until.tv_sec += play->player.options->timeout;
  bool abandoned = false;
  for (unsigned i = 0; i < opens->count && !play_stopped(play); i++) {
    struct open_one *one = opens->one[i];
    one->play = play;
    const char *reason = lay_out(play, one);
    one->runs = !reason && pthread_create(&one->thread, NULL, make, one) == 0;
    if (!one->runs) play_withhold(play, &one->call, reason ? reason : "no more threads can be made");
  }
  for (unsigned i = 0; i < opens->count; i++) {
    struct open_one *one = opens->one[i];
    if (one->runs) finish(play, one, &until);
    abandoned |= one->runs;
    if (one->runs) continue; /* its thread may still come back to it */
    live_free(&one->worker.live);
    arena_free(&one->memory);
    free(one);
  }
  if (opens->more) fprintf(stderr, "p11trace: replay: %" PRIu64 " more unfinished calls are not made\n", opens->more);
  if (!abandoned) free(opens);
}
