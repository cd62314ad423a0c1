/* What the files of the player share: play_call makes one call, the modes decide when and in which thread. */
#ifndef REPLAY_PLAYER_PART_H
#define REPLAY_PLAYER_PART_H

#include <signal.h>

#include "decoder/replay/call_copy.h"
#include "decoder/replay/guard.h"
#include "decoder/replay/results.h"

struct play {
  struct player player;
  struct guard *guard;
  atomic_bool stop;       /* make no more calls */
  atomic_int initialised; /* C_Initialize calls of today that C_Finalize has not undone: 0 or 1 */
  bool seen_initialize;   /* by the trace */
  bool prepared;
  atomic_uint stuck; /* threads that did not come back from the module */
};

/* A thread that makes calls. */
struct worker {
  struct live live;
  unsigned place; /* in results->thread */
  char text[512];
};

/* player.c: the flag of SIGTERM. */
extern volatile sig_atomic_t play_interrupted;
bool play_stopped(const struct play *play);
/* Says why and lets the threads come to their end. `guarded`: to protect the card. Without player->lock. */
void play_stop(struct play *play, bool guarded, const char *why);

/* player_call.c: makes the call and compares it, or says why not. */
void play_call(struct play *play, struct worker *worker, const struct call *call);
void play_withhold(struct play *play, const struct call *call, const char *reason);
/* What is there to do before the trace's first call that needs an initialised module. */
void play_begin(struct play *play, const struct call *call);
/* C_Finalize, if the trace has not made it. */
void play_end(struct play *play);

/* The modes: play_serial.c, play_relay.c, play_free.c. A mode is told of each call that returned, in the order of returns, and
 * then of the end. */
struct mode {
  void *(*begin)(struct play *play);
  void (*call)(void *state, const struct call *call, uint64_t pause);
  void (*settle)(void *state); /* waits until all of them are over */
  void (*end)(void *state);
};
extern const struct mode play_serial, play_relay, play_free;

/* player.c: sleeps as long as the application did other things before the call, with --speed recorded. */
void play_sleep(const struct play *play, uint64_t ns);

/* play_open.c: calls that had not returned when the trace ended; made last, each in a thread of its own. */
struct opens;
struct opens *opens_new(void);
void opens_add(struct opens *opens, const struct call *call);
void opens_play(struct opens *opens, struct play *play);

#endif
