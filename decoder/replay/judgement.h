/* All that the jobs of a replay found, put together, and what it means for the exit status. */
#ifndef REPLAY_JUDGEMENT_H
#define REPLAY_JUDGEMENT_H

#include <stdio.h>

#include "decoder/replay/expect.h"
#include "decoder/replay/job.h"

/* --max-slowdown FUNCTION=20% */
struct slow_limit {
  int function;
  unsigned percent;
};

/* A kind of all jobs. */
struct judgement_kind {
  const struct result_kind *kind; /* of the first job that has it */
  const struct job *job;
  uint64_t count;
  struct expectation *expected; /* NULL: not */
};

struct judgement_latency {
  int function;
  uint64_t calls, recorded_ns, replayed_ns;
  uint64_t recorded_median, replayed_median;
  const struct slow_limit *limit; /* NULL none */
  bool slower;                    /* than the limit allows */
};
/* So few calls say nothing of a function. */
enum { SLOW_CALLS = 20 };

struct judgement {
  const struct jobs *jobs;
  const struct replay_options *options;
  struct expectations *expectations;
  const struct slow_limit *limit;
  size_t limits;
  struct judgement_kind *kind; /* in the order in which they were met */
  size_t kinds;
  struct judgement_latency latency[P11_FUNCTIONS];
  size_t latencies;
  uint64_t calls;      /* of the traces */
  uint64_t done;       /* looked at: made or withheld */
  uint64_t replayed;   /* made */
  uint64_t outcome[4]; /* calls, by enum outcome */
  uint64_t differences, different_kinds, expected, expected_kinds, kinds_lost, prepared;
  size_t could_not;  /* jobs */
  size_t unused;     /* expectations */
  size_t slower;     /* functions */
  char *explanation; /* of the first difference that is not expected; NULL none */
  const struct job *explained;
  int status; /* of cmd.h */
};

/* Puts together what jobs_run left; sets all but explanation. */
void judgement_make(struct judgement *judgement);
void judgement_free(struct judgement *judgement);
/* Why the job could not be replayed, or not to its end; NULL it was. */
const char *judgement_could_not(const struct job *job);
const char *judgement_function(const struct result_kind *kind);

/* explain.c: sets explanation and explained. */
void explain(struct judgement *judgement);

/* `latency`: the table of all functions too. False when it cannot be written. */
bool replay_print_text(FILE *to, const struct judgement *judgement, bool latency);
bool replay_print_json(FILE *to, const struct judgement *judgement);
bool replay_print_junit(FILE *to, const struct judgement *judgement);

#endif
