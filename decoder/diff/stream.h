/* The calls of one module in one process, as exchanges, in the order in which they returned. */
#ifndef DIFF_STREAM_H
#define DIFF_STREAM_H

#include "decoder/diff/names.h"
#include "decoder/diff/survey.h"

enum { STREAM_POLLS = 4096 }; /* questions whose last answer is remembered */

struct stream_poll {
  uint64_t question, answer, number;
  uint32_t epoch; /* 0: the place is free */
};

struct stream {
  struct trace_set *set;
  struct filter *filter;
  struct names names;
  const struct process_seen *process;
  const struct module_seen *module;
  unsigned index; /* of the process in `set` */
  bool crowd;     /* login states are part of the questions, numbers of sessions are not */
  uint32_t epoch;
  struct stream_poll *poll;
  uint64_t read; /* question before, when it was a read; 0 */
  uint64_t read_answer;
  struct event event; /* the call of the last exchange, until the next */
};

/* What is compared with what: one module of one process on both sides. */
struct diff_pair {
  const struct survey *survey[SIDES];
  const struct process_seen *process[SIDES];
  struct module_seen *module[SIDES];
  bool crowd;
};

/* False: it cannot be opened (said). */
bool stream_open(struct stream *stream, const struct diff_pair *pair, int side, const struct diff_options *options);
void stream_close(struct stream *stream);
/* Next exchange, state of the login in *login (crowds: 0 nobody, else CKU_ + 1). Calls that the filter does not want
 * and probes are left out. False at the end. */
bool stream_next(struct stream *stream, struct exchange *exchange, uint64_t *login);
/* The names take the call in: after whoever wants to look at stream->event with the names of before. */
void stream_see(struct stream *stream, const struct exchange *exchange);

/* Next exchange that says anything new: a poll that is answered as before, and a read that is repeated at once, are
 * left out (and counted in *folded). */
bool stream_folded(struct stream *stream, struct exchange *exchange, uint64_t *folded);

/* The filter of the options; never NULL. */
struct filter *stream_filter(const struct diff_options *options);

#endif
