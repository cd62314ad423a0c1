/* p11trace stat --json, as JSON.md describes it. */
#include "decoder/show/json.h"
#include "decoder/show/stat.h"

static json_t *row_object(const struct stats *s, const struct stat_row *row)
{
  const unsigned by = s->options->by;
  json_t *o = json_object();
  json_put(o, "calls", json_number(row->calls));
  json_put(o, "errors", json_number(row->errors));
  json_put(o, "open", json_number(row->open));
  json_put(o, "unwound", json_number(row->unwound));
  json_put(o, "concurrency", json_number(row->concurrency));
  json_put(o, "total", json_number(row->time.total));
  if (row->time.count > 0) {
    json_put(o, "min", json_number(row->time.least));
    json_put(o, "p50", json_number(hist_percentile(&row->time, 50)));
    json_put(o, "p95", json_number(hist_percentile(&row->time, 95)));
    json_put(o, "p99", json_number(hist_percentile(&row->time, 99)));
    json_put(o, "max", json_number(row->time.most));
  }
  json_text(o, "fn", row->key.function);
  if (row->key.mechanism != STAT_NONE) {
    json_put(o, "mechanism", json_number(row->key.mechanism));
    json_text(o, "mechanism_name", p11_constant_name(P11_DOM_CKM, row->key.mechanism));
  }
  if (row->key.slot != STAT_NONE) json_put(o, "slot", json_number(row->key.slot));
  json_text(o, "module", row->key.module);
  if (by & (BY_PROCESS | BY_THREAD) && row->key.pid != 0) json_put(o, "pid", json_integer(row->key.pid));
  if (by & BY_THREAD && row->key.tid != 0) json_put(o, "tid", json_integer(row->key.tid));
  json_text(o, "thread", row->thread);
  json_text(o, "caller", row->key.caller);
  return o;
}

static json_t *error_object(const struct stat_error *e)
{
  json_t *o = json_object();
  json_put(o, "count", json_number(e->count));
  json_text(o, "fn", e->function);
  json_put(o, "rv_value", json_number(e->rv));
  json_text(o, "rv", p11_constant_name(P11_DOM_CKR, e->rv));
  return o;
}

void stat_print_json(struct stats *s, struct text *out)
{
  json_t *o = json_object(), *rows = json_array(), *errors = json_array();
  json_put(o, "type", json_string("stat"));
  json_put(o, "version", json_integer(1));
  json_put(o, "calls", json_number(s->calls));
  json_put(o, "errors", json_number(s->failed));
  json_put(o, "open", json_number(s->open));
  json_put(o, "unwound", json_number(s->unwound));
  json_put(o, "total", json_number(s->total));
  json_put(o, "elapsed", json_number(s->last - s->first));
  json_put(o, "concurrency", json_number(s->concurrency));
  if (s->probes > 0) json_put(o, "probes", json_number(s->probes));
  for (size_t i = 0; i < s->rows && s->row[i]->calls > 0; i++) json_add(rows, row_object(s, s->row[i]));
  for (size_t i = 0; i < s->errors; i++) json_add(errors, error_object(s->error[i]));
  json_put(o, "rows", rows);
  json_put(o, "errors_by_code", errors);
  json_line(out, o);
}
