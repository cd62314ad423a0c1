#include "decoder/show/stat_hist.h"

#include <stdlib.h>

static unsigned power_of(uint64_t value)
{
  return value < 64 ? 0 : (unsigned)(64 - 6 - __builtin_clzll(value));
}

void hist_add(struct hist *h, uint64_t ns)
{
  if (h->count == 0 || ns < h->least) h->least = ns;
  if (ns > h->most) h->most = ns;
  h->count++;
  h->total += ns;
  unsigned k = power_of(ns);
  if (h->power[k] == NULL) {
    h->power[k] = calloc(k == 0 ? 64 : 32, sizeof *h->power[k]);
    if (h->power[k] == NULL) return;
  }
  uint32_t *bucket = &h->power[k][k == 0 ? ns : (ns >> k) - 32];
  if (*bucket != UINT32_MAX) ++*bucket;
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
  if (h->count == 0) return 0;
  double wanted = (double)h->count * percent / 100;
  double seen = 0;
  for (unsigned k = 0; k < HIST_POWERS; k++) {
    if (h->power[k] == NULL) continue;
    for (unsigned i = 0; i < (k == 0 ? 64u : 32u); i++) {
      seen += h->power[k][i];
      if (h->power[k][i] == 0 || seen < wanted) continue;
      uint64_t last = k == 0 ? i : ((uint64_t)(i + 33) << k) - 1;
      return last < h->most ? last : h->most;
    }
  }
  return h->most;
}

void hist_free(struct hist *h)
{
  for (unsigned k = 0; k < HIST_POWERS; k++) free(h->power[k]);
}
