/* A smaller trace of the calls that a filter lets pass. */
#ifndef WRITE_TRIM_H
#define WRITE_TRIM_H

#include "decoder/filter/filter.h"
#include "decoder/write/kept_numbers.h"

struct trim_options {
  const char *output;
  struct filter *filter;
  bool keep_state; /* also what the chosen calls depend on */
  bool quiet;
  const char *how; /* options, as HEAD of the new trace says them */
};

/* Writes the processes that `paths` name, each with its chosen calls, to options->output, a folder when there are several. An
 * exit status of cmd.h: EXIT_FOUND when no call is chosen, and then nothing is written. */
int trim_paths(const char *const *paths, size_t count, const struct trim_options *options);

/* trim_state.c: follows sessions, logins, operations and handles, and adds to the kept numbers what calls that are there need. */
struct trim_state;
struct trim_state *trim_state_new(void);
void trim_state_free(struct trim_state *state);
/* First reading of the set: a chosen call. */
void trim_state_want(struct trim_state *state, const struct event *event, uint64_t slot);
/* Second reading: every EVENT_CALL, in order. */
void trim_state_see(struct trim_state *state, const struct event *event, struct kept_numbers *kept);

#endif
