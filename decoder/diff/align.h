/* The longest common subsequence of two windows: E. W. Myers, "An O(ND) Difference Algorithm", 1986. */
#ifndef DIFF_ALIGN_H
#define DIFF_ALIGN_H

#include <stddef.h>
#include <stdint.h>

enum { ALIGN_EDITS = 1024 }; /* more are not looked for: the path that got farthest is taken */

struct align {
  int32_t *path; /* the farthest x of each diagonal, after each number of edits; -1: none */
  int32_t n, m;  /* sizes of the windows */
};
void align_start(struct align *align);
void align_free(struct align *align);

/* with[i] is the place in b that a[i] is aligned with, or -1. *used_a, *used_b: how far the path got; all, unless
 * there were too many edits. */
void align_run(struct align *align, const uint64_t *a, size_t count_a, const uint64_t *b, size_t count_b, int32_t *with,
               size_t *used_a, size_t *used_b);

#endif
