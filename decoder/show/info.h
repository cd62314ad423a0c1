/* What a trace holds: one page a process. */
#ifndef SHOW_INFO_H
#define SHOW_INFO_H

#include "decoder/read/trace.h"
#include "decoder/show/text.h"

/* Reads the whole set and prints it to `fd`, as text (of more than three processes only those in full with which something is
 * the matter, unless `verbose`) or as one JSON object. Returns an exit status of cmd.h: 2 when bytes of
 * the trace are lost or the output cannot be written, else 0. */
int info_set(struct trace_set *set, bool json, bool verbose, int fd);

/* --- inside the room ----------------------------------------------------------------------------------------------- */

enum { INFO_FLIGHTS = 32 };

/* A call that was running when the trace ended. */
struct flight {
  const struct p11_function_info *info;
  uint64_t number, start;
  uint32_t tid;
  char thread[64];
};

/* Counted while the events go by. */
struct tally {
  uint64_t calls, errors, probes, open, abandoned, headless;
  uint64_t first, last; /* ns: first and last record */
  bool any;
  uint32_t *tid; /* hash table of the threads seen */
  size_t tids, tid_room;
  struct flight flight[INFO_FLIGHTS];
  size_t flights;
};

struct info {
  struct trace_set *set;
  struct process *const *process;
  size_t processes;
  struct tally *tally; /* by process->index */
  struct text out;
};

void info_json(struct info *info);

/* recording, complete, ended, died, cut, empty, unknown: one word for the verdict. */
const char *info_verdict(const struct process *process, const struct tally *tally);

/* Local time of `realtime` (ns since 1970) in ISO 8601 with its zone, into `text` of 40 bytes. */
void info_time(uint64_t realtime, char text[40]);

#endif
