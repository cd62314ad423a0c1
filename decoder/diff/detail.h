/* The traces read once more: the calls of each kind of difference in full, and what led to the first. */
#ifndef DIFF_DETAIL_H
#define DIFF_DETAIL_H

#include "decoder/diff/found.h"

enum { DETAIL_LINES = 8, DETAIL_BEFORE = 3, DETAIL_AFTER = 2 };

struct detail_lines {
  char *line[DETAIL_LINES];
  unsigned count;
};

/* Of the first difference. */
struct detail {
  struct detail_lines before[SIDES], after[SIDES]; /* calls of the same thread */
  struct detail_lines history[SIDES]; /* how its session and objects came to be, the operation, the login */
};

/* Fills found->kind[].call and `detail`. False: a trace cannot be opened any more (said). */
bool detail_read(struct found *found, struct detail *detail, const struct diff_options *options);
void detail_free(struct detail *detail);

#endif
