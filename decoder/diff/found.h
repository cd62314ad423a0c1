/* What differs between two traces: counts by function, and each kind once with its first calls. */
#ifndef DIFF_FOUND_H
#define DIFF_FOUND_H

#include "decoder/diff/shape.h"
#include "decoder/diff/stream.h"

enum difference_kind {
  DIFFERENT_ANSWER,    /* the same question was answered otherwise */
  DIFFERENT_ARGUMENTS, /* the same function, in the same place, asked otherwise */
  DIFFERENT_ONLY_A,
  DIFFERENT_ONLY_B,
  DIFFERENT_TIMES,      /* logins of several threads: the same answers, not as often */
  DIFFERENT_DESCRIPTION /* what the module calls itself: told, and no difference */
};
enum { FOUND_KINDS = 256 };

/* What was found of one call of a difference when the trace was read once more: detail.h. */
struct found_call {
  char *line; /* as dump shows it; NULL: there is no such call */
  struct parts parts;
};

struct found_kind {
  enum difference_kind kind;
  uint16_t function;
  const struct diff_pair *pair;
  uint64_t rv[SIDES], number[SIDES]; /* of the first; number 0: none */
  uint64_t count;
  bool before; /* it came before the first answer that differed */
  struct found_call call[SIDES];
};

struct found_function {
  uint64_t calls[SIDES], same, only[SIDES], answers, arguments;
};

struct found {
  struct found_function function[P11_FUNCTIONS + 1]; /* the last: functions that we do not know */
  struct found_kind kind[FOUND_KINDS];
  unsigned kinds;
  uint64_t lost;        /* of kinds that there was no room for */
  uint64_t differences; /* all but descriptions */
  int first;            /* kind of the first difference: of the first answer that differed, if one did; -1 none */
  uint64_t uncompared;  /* calls: more questions than a crowd remembers */
};

void found_start(struct found *found);
void found_free(struct found *found);
/* `a` or `b` may be NULL: only on the other side. */
void found_add(struct found *found, const struct diff_pair *pair, enum difference_kind kind, const struct exchange *a,
               const struct exchange *b);
const char *found_function_name(unsigned function);

/* sequence.c, crowd.c: compare one module of one process. False: a trace cannot be opened (said). */
bool sequence_compare(struct found *found, const struct diff_pair *pair, const struct diff_options *options);
bool crowd_compare(struct found *found, const struct diff_pair *pair, const struct diff_options *options);

#endif
