/* Differences that are accepted, each with its reason: --expect FILE.
 *
 *   FUNCTION PLACE [RECORDED -> REPLAYED] : REASON
 *
 * The brackets and what is in them may be left out; * stands for any characters in each of the four; # begins a comment. */
#ifndef REPLAY_EXPECT_H
#define REPLAY_EXPECT_H

#include "decoder/replay/results.h"

struct expectation {
  char *function, *place, *recorded, *replayed; /* NULL: any */
  char *reason, *line;                          /* the line as it stands */
  unsigned number;                              /* of the line */
  uint64_t used;                                /* differences */
};
struct expectations {
  const char *path;
  struct expectation *at;
  size_t count;
};

/* False with a line on stderr that names the line and what is wrong with it. */
bool expect_read(struct expectations *expectations, const char *path);
/* The first entry that says so of the kind; NULL none. */
struct expectation *expect_find(const struct expectations *expectations, const struct result_kind *kind);
void expect_free(struct expectations *expectations);

#endif
