/* What a trace knows of each object: read from all of it before a replay begins. */
#ifndef REPLAY_PORTRAIT_H
#define REPLAY_PORTRAIT_H

#include "decoder/replay/replay.h"

/* One object of the recorded process, from the call that handed its handle out to its end. Attributes in full where the trace
 * has them in full. */
struct portrait {
  uint64_t handle, from, to; /* numbers of the calls; to: UINT64_MAX to the end */
  uint64_t slot;
  bool made; /* by a call of this trace: prepare leaves it out */
  bool user; /* seen only while somebody was logged in */
  size_t count;
  const struct value *attribute; /* VALUE_ATTRIBUTE each */
};

/* Made of all calls of the recorded process, one after the other. */
struct portraits_reading;
struct portraits_reading *portraits_begin(void);
void portraits_see(struct portraits_reading *reading, const struct call *call);
struct portraits *portraits_end(struct portraits_reading *reading);
void portraits_free(struct portraits *portraits);
/* The object that had `handle` when call `number` was made; NULL when nothing is known of it. */
const struct portrait *portrait_of(const struct portraits *portraits, uint64_t handle, uint64_t number);
/* How well an object of today fits: reads its attributes in `session` (today's). Higher is better, -1000: it cannot be it.
 * *wholly: nothing is other than it was, but for what another key has. */
int portrait_fits(struct player *player, const struct portrait *portrait, uint64_t session, uint64_t object,
                  bool *wholly);

/* prepare.c: makes on the (empty) token of each slot what the trace expects to find there and did not make itself: the same
 * classes, labels, ids, certificates; fresh keys of the same kind and size. Uses sessions of its own and leaves none open, nor
 * a login. Returns how many objects were made; negative: it could not (said in results->error). */
int prepare(struct player *player);

#endif
