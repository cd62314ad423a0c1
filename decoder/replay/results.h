/* What a replay found: one block of memory without pointers, shared between the process that plays and the one that waits,
 * so that a module that crashes takes nothing of it along. */
#ifndef REPLAY_RESULTS_H
#define REPLAY_RESULTS_H

#include <stdatomic.h>

#include "decoder/replay/live.h"

#define RESULTS_KINDS 2048
#define RESULTS_THREADS 128
#define RESULTS_BUCKETS 256 /* of a latency: 8 to each power of two */

/* Place of a difference that is the call itself: it crashed or did not return. */
#define PLACE_CALL "the call"

/* Differences of one kind: function, place, and for return codes both codes. */
struct result_kind {
  uint16_t function; /* enum p11_function */
  uint8_t outcome;   /* OUTCOME_DIFFERENT, INCOMPARABLE or WITHHELD */
  struct difference first;
  char reason[200]; /* of INCOMPARABLE and WITHHELD */
  uint64_t call;    /* number of the first */
  uint64_t count;
};

struct result_latency {
  uint64_t calls, recorded_ns, replayed_ns;
  uint32_t recorded[RESULTS_BUCKETS], replayed[RESULTS_BUCKETS];
};

struct results {
  char error[512];     /* it could not be replayed: what, where, what to do; "" it could */
  char stopped[512];   /* it ended before the last call, to protect the card or because of --until; "" it did not */
  bool guarded;        /* it ended to protect the card: the rest was not replayed */
  uint64_t calls;      /* of the trace, so far */
  uint64_t outcome[4]; /* by enum outcome */
  uint64_t prepared;   /* objects made before the first call */
  char prepared_text[1024];  /* what could not be made, or not as it was; "" nothing */
  uint64_t first_difference; /* number of the first call that differed; 0 none */
  struct {
    _Atomic uint64_t call, since; /* number, ns CLOCK_MONOTONIC; 0: not in the module */
    _Atomic uint32_t function;
  } thread[RESULTS_THREADS];
  bool made_keys; /* generated ones, which are others each time */
  unsigned changes;
  struct replay_change change[REPLAY_CHANGES]; /* for the processes that are replayed later */
  unsigned kinds;
  uint64_t kinds_lost; /* more kinds than there is room for */
  struct result_kind kind[RESULTS_KINDS];
  struct result_latency latency[P11_FUNCTIONS];
};

/* One call is over. Under player->lock. */
void results_add(struct results *results, const struct live *live, enum outcome outcome, const struct difference *found,
                 unsigned count, const char *reason);
/* One call was not made. */
void results_withheld(struct results *results, const struct call *call, const char *reason);
/* One call more of this kind; `found` or, but for OUTCOME_DIFFERENT, `reason`. No outcome is counted. */
void results_note(struct results *results, int function, enum outcome outcome, const struct difference *found,
                  const char *reason, uint64_t call);

/* From `call` on the token in today's `slot` has other objects (or another PIN) than the recorded one. The first time counts. */
void results_changed(struct results *results, uint64_t slot, bool pin, uint64_t call);
/* The change by an earlier process that the slot's token shows; NULL none. */
const struct replay_change *results_change_before(const struct replay_options *options, uint64_t slot, bool pin);

/* Where a duration belongs. */
unsigned results_bucket(uint64_t ns);
/* Half of the durations were shorter, within a sixteenth; 0 when there are none. */
uint64_t results_median(const uint32_t bucket[RESULTS_BUCKETS]);

#endif
