#include <stdlib.h>

#include "decoder/report/report_part.h"

/* Probes are not the application's. */
void latency_take(struct report *r, const struct call *call)
{
  if (call->state != CALL_DONE || call_is_probe(call)) return;
  struct report_function *f = &r->function[rows_function(r, call)];
  hist_add(&f->time, call->end > call->start ? call->end - call->start : 0);
  f->errors += call->rv != CKR_OK;
}

/* Calls in each power of two of nanoseconds: [power of the first, counts...]. */
static json_t *bars(const struct hist *h)
{
  json_t *list = json_array();
  int first = -1, last = -1;
  for (int k = 0; k < HIST_POWERS; k++) {
    if (!h->power[k]) continue;
    if (first < 0) first = k;
    last = k;
  }
  if (first < 0) return list;
  json_array_append_new(list, json_integer(first + 5));
  for (int k = first; k <= last; k++) {
    uint64_t sum = 0;
    for (int i = 0; h->power[k] && i < (k ? 32 : 64); i++) sum += h->power[k][i];
    json_array_append_new(list, json_integer((json_int_t)sum));
  }
  return list;
}

json_t *latency_json(const struct report *r)
{
  json_t *list = json_array();
  for (size_t i = 0; i < r->functions; i++) {
    const struct report_function *f = &r->function[i];
    const struct hist *h = &f->time;
    if (!h->count) continue;
    json_array_append_new(
        list, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "function", (json_int_t)i, "count",
                        (json_int_t)h->count, "errors", (json_int_t)f->errors, "total", (json_int_t)h->total, "p50",
                        (json_int_t)hist_percentile(h, 50), "p90", (json_int_t)hist_percentile(h, 90), "p99",
                        (json_int_t)hist_percentile(h, 99), "max", (json_int_t)h->most, "bars", bars(h)));
  }
  return list;
}

void latency_free(struct report *r)
{
  for (size_t i = 0; i < r->functions; i++) {
    hist_free(&r->function[i].time);
    if (r->function[i].owned) free((char *)(uintptr_t)r->function[i].name);
  }
  free(r->function);
}
