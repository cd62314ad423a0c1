/* Between the files of this room. */
#ifndef REPORT_REPORT_PART_H
#define REPORT_REPORT_PART_H

#include <jansson.h>

#include "decoder/report/report.h"
#include "decoder/show/stat_hist.h"
#include "decoder/state/state.h"

/* A call that is evidence of a finding. */
struct proof {
  unsigned process; /* index */
  uint64_t number;
};

/* In the page's data too: page/data.js. */
enum row_flag {
  ROW_FAILED = 1,
  ROW_PROOF = 2,
  ROW_LOGIN = 4,  /* changes the login, or tries to */
  ROW_CHANGE = 8, /* `state` has a line that begins with it; C_Initialize, C_Finalize */
  ROW_OPEN = 16,
  ROW_UNWOUND = 32,
  ROW_HEADLESS = 64,
  ROW_PROBE = 128
};

/* How much a call matters: of each weight so many rows are kept; what proves a finding always is. */
enum row_weight { WEIGHT_ANY, WEIGHT_TELLING, WEIGHT_LOGIN, WEIGHT_PROOF, WEIGHTS };

/* A call, or several that are the same between two that tell something. */
struct row {
  uint64_t number, start, end; /* of the first; ns of the trace's clock, end 0 when there is none */
  uint64_t last, longest;      /* start of the last one; ns that the longest took */
  uint64_t count, left_out;    /* calls in it; calls left out that came after it */
  uint64_t rv, session, key;
  char *text, *caller, *stack; /* owned; caller and stack may be NULL */
  uint32_t thread;
  int32_t life; /* index in states->life, -1 none */
  uint16_t function;
  uint8_t flags, weight, idiom;
};

#define RECENT 24

struct report_thread {
  unsigned process;
  uint32_t tid;
  char *name; /* owned, escaped */
  struct {
    uint64_t key;
    size_t row;
  } recent[RECENT]; /* rows that the next call may be folded into */
  unsigned at;
};

struct report_function {
  const char *name; /* owned by the table of functions, or by us */
  bool owned;
  uint64_t errors;
  struct hist time;
};

struct report_session {
  int32_t life;
  uint64_t handle, start, end; /* end 0: open to the end */
  uint64_t number;             /* C_OpenSession */
  bool read_write;
};

struct report {
  const struct report_options *options;
  struct symbols *symbols;
  struct states states;
  uint64_t origin, last;                                /* ns: what times are shown from; the last that was seen */
  uint64_t *until;                                      /* ns: the last of each process, by index */
  uint64_t calls, errors, probes, left_out, left_first; /* left_first: before the first row */
  struct proof *proof;                                  /* in order */
  size_t proofs;
  struct row *row; /* in the order of their ends */
  size_t rows, row_room;
  size_t kept[WEIGHTS];
  uint64_t stride[WEIGHTS]; /* one in so many is kept; a power of two */
  struct report_thread **thread;
  size_t threads, thread_room;
  struct report_function *function;
  size_t functions, function_room;
  uint16_t by_known[P11_FUNCTIONS]; /* place in `function` and 1; 0: not there */
  struct report_session *session;
  size_t sessions, session_room;
  uint64_t sessions_left; /* that were not kept */
  bool ending;            /* a process's trace is over: what is open stays so */
  /* The call that is being looked at, as the model placed it. */
  struct {
    struct life *life;
    size_t lines;
    uint64_t session;
    uint8_t idiom;
  } at;
};

/* realloc() for one more of `size` bytes in a list that doubles; ends the program without memory. */
void *report_more(void *list, size_t count, size_t *room, size_t size);

/* same.c */
/* For qsort and bsearch. */
int proof_order(const void *a, const void *b);
/* A key that calls share which a reader would take for the same: function, result, numbers, attributes asked for; not the
 * session, not contents of buffers. */
uint64_t same_key(const struct call *call);
uint8_t row_flags(const struct report *report, const struct event *event, bool changes);
enum row_weight row_weight(uint8_t flags);

/* rows.c */
void rows_take(struct report *report, const struct event *event);
/* Makes room: leaves out about half of the rows of the least weight that has any. False when there is nothing to leave out any more. */
bool rows_thin(struct report *report);
void rows_free(struct report *report);
uint16_t rows_function(struct report *report, const struct call *call);

/* lanes.c */
void sessions_take(struct report *report, const struct event *event);
/* [[start, state], ...] of one lane of a slot; state: LOGIN_*, 0 nobody. */
json_t *lane_presence(const struct life *life);
json_t *lane_calls(const struct life *life);
/* [[start, state, explained, number], ...] */
json_t *lane_says(const struct life *life);
/* Leaves about `keep` of a lane, every n-th, n odd: two states that take turns both stay. What changes faster than that cannot
 * be seen anyway. */
void lane_thin(json_t *lane, size_t keep);
/* The longest ones: [[slot, handle, start, end or -1, read/write, number of C_OpenSession], ...]; and how many others. */
json_t *sessions_json(struct report *report);
uint64_t sessions_left(const struct report *report);

/* latency.c */
void latency_take(struct report *report, const struct call *call);
json_t *latency_json(const struct report *report);
void latency_free(struct report *report);

/* data.c */
json_t *data_json(struct report *report, struct process *const *process, size_t processes, json_t *findings);
/* Outside text, escaped as everywhere; never NULL. */
json_t *data_text(const char *text);

/* Escapes what check and state give as it is in a trace: control characters, and those that turn text around. */
void data_clean(json_t *data);

/* page.c */
/* The whole page in memory that the caller frees; NULL when the data cannot be written as JSON. */
char *page_make(json_t *data, const char *title, size_t *size);

#endif
