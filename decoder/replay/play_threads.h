/* The recorded threads: a real thread for each that has calls to make, fed by the reader of the trace.
 *
 * Calls are numbered from 1 in the order in which they are given, which is that of their returns. Each names the number up to
 * which all others must be over before it may be made; since a call only ever waits for smaller numbers, the smallest that is
 * not over can always be made. */
#ifndef REPLAY_PLAY_THREADS_H
#define REPLAY_PLAY_THREADS_H

#include "decoder/replay/player_part.h"

struct threads;

/* Calls that may be given before the first of them is over. */
enum { THREADS_AHEAD = 4096 };

struct threads *threads_new(struct play *play);
/* Waits until there is room. `copied`: the call is copied; else the caller waits for it (threads_wait) before it goes on.
 * Returns its number. */
uint64_t threads_give(struct threads *threads, const struct call *call, uint64_t after, uint64_t pause, bool copied);
/* Until all calls up to `number` are over. */
void threads_wait(struct threads *threads, uint64_t number);
/* Number of the last call that was given. */
uint64_t threads_given(const struct threads *threads);
void threads_free(struct threads *threads);

#endif
