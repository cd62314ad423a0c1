/* Traces as text, one line a call, or as JSON lines. */
#ifndef SHOW_DUMP_H
#define SHOW_DUMP_H

#include "decoder/filter/filter.h"
#include "decoder/read/trace.h"
#include "decoder/seal/reveal.h"
#include "decoder/show/text.h"
#include "decoder/symbols/symbols.h"

enum dump_time {
  DUMP_SINCE_START, /* seconds since the first process's start */
  DUMP_RELATIVE,    /* seconds since the line before */
  DUMP_ABSOLUTE     /* date and local time */
};

struct dump_options {
  enum dump_time time;
  bool json, nanoseconds, caller, stack, threads, verbose, quiet, color;
  size_t limit; /* bytes of a value */
  struct symbols_options symbols;
  struct filter *filter; /* never NULL */
  struct reveal *reveal; /* opens sealed payload; NULL: it stays sealed */
};

/* Prints the whole set to `fd`. Returns an exit status of cmd.h: 2 when bytes of the trace are lost or the output cannot be
 * written (said on stderr, but for EPIPE: whoever read had enough), else 0. Stops in order at SIGINT. */
int dump_set(struct trace_set *set, const struct dump_options *options, int fd);

/* --- inside the room ----------------------------------------------------------------------------------------------- */

struct dump {
  const struct dump_options *options;
  struct text out;
  struct symbols *symbols;
  struct process *const *process;
  size_t processes, first_room;
  uint64_t origin, last; /* ns: start of the trace, time of the line before */
  bool many_threads, many_modules;
  struct dump_first {
    bool known;
    uint32_t tid;
    unsigned module;
  } * first; /* call of each process, by index */
  /* Local time of the second that was formatted last. */
  uint64_t second;
  char date[32];
};

/* The parts of dump_set, for whoever has the events from elsewhere: `process` and `processes` of *dump are set first. */
void dump_begin(struct dump *dump, const struct dump_options *options, int fd);
void dump_event(struct dump *dump, const struct event *event);
/* There is one more process than before. */
void dump_joined(struct dump *dump);
/* Says on stderr what is lost and which names are, unless the output was closed; frees what dump_begin made. Returns an exit
 * status as dump_set. */
int dump_end(struct dump *dump, const char *verb);

/* One line each, or, with options->json, one object. */
void dump_call(struct dump *d, const struct event *event);
void dump_other(struct dump *d, const struct event *event);
void json_call(struct dump *d, const struct event *event);
void json_other(struct dump *d, const struct event *event);
/* What is known of the processes before their events. */
void json_start(struct dump *d);
void json_process(struct dump *d, const struct process *process);

/* "(hSession=0x1, ...)": the parameters as they were, and what became of them. */
struct printer;
void dump_arguments(const struct printer *p, const struct call *call);

/* Time column of a line. */
void dump_time(struct dump *d, const struct process *process, uint64_t time);

/* ns of the realtime clock at `time` of the monotonic clock. */
uint64_t dump_realtime(const struct process *process, uint64_t time);

#endif
