/* Traces that are still being written, read as they grow.
 *
 * The recorder is not disturbed: its live file is mapped read-only, nothing that it waits for is locked. Every record is seen
 * once, whether it was copied from its slot or came with the frame that the slot became. */
#ifndef READ_TAIL_H
#define READ_TAIL_H

#include "decoder/read/trace.h"

struct tail;

enum tail_added {
  TAIL_ADDED, /* *process is set */
  TAIL_KNOWN, /* it was added before */
  TAIL_LATER, /* nothing is recorded in it yet: try again */
  TAIL_ENDED, /* its process has ended, and `ended` was false */
  TAIL_CANNOT /* said on stderr */
};

struct tail *tail_new(void);

/* Adds the trace at `path`; that of a process that has ended only if `ended`. */
enum tail_added tail_add(struct tail *tail, const char *path, bool ended, struct process **process);

/* Looks at what was recorded since. Between two calls time stands still for tail_next. */
void tail_poll(struct tail *tail);

/* As trace_next: 0 when *event is filled, 1 when nothing is due now. */
int tail_next(struct tail *tail, struct event *event);

/* Processes whose last event was not handed out yet. */
size_t tail_running(const struct tail *tail);

/* All processes, in the order in which they were added; calls so far have their places in them. */
size_t tail_processes(const struct tail *tail, struct process *const **list);

bool tail_damaged(const struct tail *tail);

void tail_free(struct tail *tail);

#endif
