/* Durations in few bytes and with a known error: buckets of equal width between powers of two (the idea of HdrHistogram).
 * 32 buckets for each power make the error of a percentile at most 1/32; powers that do not occur take no room. */
#ifndef SHOW_STAT_HIST_H
#define SHOW_STAT_HIST_H

#include <stdint.h>

#define HIST_POWERS 59

struct hist {
  uint64_t count, total, least, most;
  uint32_t *power[HIST_POWERS]; /* [0]: 0-63 one by one; [k]: 32 buckets of width 2^k from 2^(k+5) */
};

/* Adds one duration; without memory only count, total, least and most know of it. */
void hist_add(struct hist *hist, uint64_t ns);

/* Value that `percent` (0-100) of the durations do not exceed: the largest of its bucket, but never more than the most;
 * 0 when empty. */
uint64_t hist_percentile(const struct hist *hist, double percent);

void hist_free(struct hist *hist);

#endif
