#include "decoder/diff/align.h"

#include <stdbool.h>
#include <stdlib.h>

#include "decoder/read/arena.h"

/* Row d has 2d+1 diagonals and begins behind those of all rows before it. */
static size_t row(int d)
{
  return (size_t)d * (size_t)d;
}

void align_start(struct align *align)
{
  align->path = read_zalloc(row(ALIGN_EDITS + 1) * sizeof *align->path);
}

void align_free(struct align *align)
{
  free(align->path);
}

static int32_t at(const struct align *align, int d, int k)
{
  return k < -d || k > d ? -1 : align->path[row(d) + (size_t)(k + d)];
}

enum { NOWHERE = INT32_MIN };

/* Where the path to diagonal k after d edits comes from: the diagonal above it goes down (an insertion), the one
 * below goes right (a deletion), neither out of the windows. NOWHERE: no path leads there. */
static int came_from(const struct align *align, int d, int k)
{
  const int32_t below = at(align, d - 1, k - 1), above = at(align, d - 1, k + 1);
  const bool right = below >= 0 && below < align->n, down = above >= 0 && above - k <= align->m;
  if (right && down) return below < above ? k + 1 : k - 1;
  return right ? k - 1 : down ? k + 1 : NOWHERE;
}

static void walk_back(const struct align *align, int d, int k, int32_t *with)
{
  int32_t x = at(align, d, k), y = x - k;
  while (d >= 0) {
    int32_t from_x = 0, from_y = 0;
    int from_k = 0;
    if (d > 0) {
      from_k = came_from(align, d, k);
      from_x = at(align, d - 1, from_k);
      from_y = from_x - from_k;
      if (from_k > k)
        from_y++; /* down, then the snake */
      else
        from_x++;
    }
    while (x > from_x && y > from_y) with[--x] = --y;
    if (d == 0) return;
    x = at(align, d - 1, from_k);
    y = x - from_k;
    k = from_k;
    d--;
  }
}

void align_run(struct align *align, const uint64_t *a, size_t count_a, const uint64_t *b, size_t count_b, int32_t *with,
               size_t *used_a, size_t *used_b)
{
  const int32_t n = (int32_t)count_a, m = (int32_t)count_b;
  int best_d = 0, best_k = 0;
  int64_t best = -1;
  align->n = n;
  align->m = m;
  for (int32_t i = 0; i < n; i++) with[i] = -1;
  for (int d = 0; d <= ALIGN_EDITS; d++) {
    for (int k = -d; k <= d; k += 2) {
      int32_t x = 0;
      if (d > 0) {
        const int from = came_from(align, d, k);
        if (from == NOWHERE) {
          align->path[row(d) + (size_t)(k + d)] = -1;
          continue;
        }
        x = at(align, d - 1, from) + (from < k);
      }
      int32_t y = x - k;
      while (x < n && y < m && a[x] == b[y]) x++, y++;
      align->path[row(d) + (size_t)(k + d)] = x;
      if ((int64_t)x + y > best) {
        best = (int64_t)x + y;
        best_d = d;
        best_k = k;
      }
      if (x == n && y == m) goto out;
    }
  }
out:
  walk_back(align, best_d, best_k, with);
  const int32_t x = at(align, best_d, best_k);
  *used_a = (size_t)x;
  *used_b = (size_t)(x - best_k);
}
