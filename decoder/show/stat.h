/* Calls counted and timed, as strace -c does it. */
#ifndef SHOW_STAT_H
#define SHOW_STAT_H

#include "decoder/filter/filter.h"
#include "decoder/read/trace.h"
#include "decoder/show/stat_hist.h"
#include "decoder/symbols/symbols.h"

/* What makes a row of the table. */
enum stat_by {
  BY_FN = 1,
  BY_MECHANISM = 2,
  BY_SLOT = 4,
  BY_MODULE = 8,
  BY_THREAD = 16,
  BY_PROCESS = 32,
  BY_CALLER = 64
};
#define BY_DEFAULT (BY_FN | BY_MECHANISM | BY_SLOT)

enum stat_sort { SORT_TOTAL, SORT_CALLS, SORT_ERRORS, SORT_P50, SORT_P99, SORT_MAX, SORT_NAME };

struct stat_options {
  unsigned by; /* bits of enum stat_by */
  enum stat_sort sort;
  bool json;
  struct symbols_options symbols; /* for the names of callers */
  struct filter *filter;          /* never NULL */
};

/* Reads the set and prints the tables to `fd`. Exit status as dump_set. */
int stat_set(struct trace_set *set, const struct stat_options *options, int fd);

/* --- inside the room ----------------------------------------------------------------------------------------------- */

#define STAT_NONE UINT64_MAX /* a mechanism or slot that is not there or not known */

struct stat_key {
  const char *function, *module; /* interned: equal texts are one pointer; NULL when not a part of the key */
  uint64_t mechanism, slot;      /* STAT_NONE */
  uint32_t pid, tid;             /* 0 */
  const char *caller;            /* interned too */
};

struct stat_row {
  struct stat_key key;
  char *thread;                  /* name of the thread, owned, or NULL */
  uint64_t calls, errors;        /* calls that passed the filter; those of them that failed */
  uint64_t open, unwound;        /* calls without an end: in `calls`, not in `time` */
  uint32_t running, concurrency; /* now; at most, whether they passed the filter or not */
  struct hist time;
  struct stat_row *next; /* in the hash table */
};

struct stat_error {
  const char *function;
  uint64_t rv, count;
  struct stat_error *next;
};

struct stats {
  const struct stat_options *options;
  struct symbols *symbols;
  struct stat_row **row; /* in order of their first call; at most STAT_ROWS */
  size_t rows;
  struct stat_error **error;
  size_t errors;
  bool rows_full, errors_full; /* what came later is in rows without mechanism, slot and thread; is not in `error` */
  bool many_modules;
  uint64_t calls, failed, open, unwound, total;
  uint64_t probes;      /* calls of the recorder's that were left out */
  uint64_t first, last; /* ns, of the calls that passed */
  uint32_t running, concurrency;
};

/* The bounds of memory: a row takes some 2 KiB. */
#define STAT_ROWS 4096
#define STAT_ERRORS 4096

/* The row of a key, made if it is not there. Ends the program without memory. */
struct stat_row *stat_row_of(struct stats *stats, const struct stat_key *key);
void stat_add_error(struct stats *stats, const char *function, uint64_t rv);
/* The one copy of a text. */
const char *stat_intern(const char *text);
void stat_free(struct stats *stats);

/* Sorts the rows and prints everything. */
struct text;
void stat_print_text(struct stats *stats, struct text *out);
void stat_print_json(struct stats *stats, struct text *out);
void stat_sort(struct stats *stats);

#endif
