#include <inttypes.h>
#include <stdlib.h>

#include "decoder/model/idiom.h"
#include "decoder/report/report_part.h"
#include "decoder/show/info.h"
#include "decoder/show/text.h"
#include "shim/trace/version.h"

enum { LINES_MOST = 500, BANDS_MOST = 400 };

json_t *data_text(const char *s)
{
  struct text text;
  text_open(&text, -1);
  if (s) text_escaped(&text, s, strlen(s), "");
  json_t *j = json_stringn(text.base, (size_t)(text.at - text.base));
  text_close(&text);
  return j ? j : json_string("?");
}

/* The text itself where nothing in it has to be escaped but backslashes, which may be those of an escape already. */
static json_t *cleaned(const char *s)
{
  struct text text;
  size_t backslashes = 0;
  for (const char *c = s; *c; c++) backslashes += *c == '\\';
  text_open(&text, -1);
  text_escaped(&text, s, strlen(s), "");
  const bool same = (size_t)(text.at - text.base) == strlen(s) + backslashes;
  text_close(&text);
  return same ? NULL : data_text(s);
}

void data_clean(json_t *data)
{
  const char *key;
  json_t *value, *better;
  size_t i;
  json_object_foreach(data, key, value)
  {
    if (json_is_string(value) && (better = cleaned(json_string_value(value)))) json_object_set_new(data, key, better);
    data_clean(value);
  }
  json_array_foreach(data, i, value)
  {
    if (json_is_string(value) && (better = cleaned(json_string_value(value)))) json_array_set_new(data, i, better);
    data_clean(value);
  }
}

/* --- texts that rows share: each is written once ------------------------------------------------------- */

struct texts {
  json_t *list, *number; /* the texts; text -> its place */
};

/* -1 for NULL; ours, so valid UTF-8. */
static json_int_t text_number(struct texts *t, const char *s)
{
  if (!s) return -1;
  json_t *known = json_object_get(t->number, s);
  if (known) return json_integer_value(known);
  const json_int_t at = (json_int_t)json_array_size(t->list);
  json_t *j = json_string(s);
  json_array_append_new(t->list, j ? j : json_string("?"));
  json_object_set_new(t->number, s, json_integer(at));
  return at;
}

static int by_start(const void *a, const void *b)
{
  const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;
  if (x->start != y->start) return x->start < y->start ? -1 : 1;
  return (x->number > y->number) - (x->number < y->number);
}

static json_int_t since(const struct report *r, uint64_t time)
{
  return time > r->origin ? (json_int_t)(time - r->origin) : 0;
}

/* The fields are named in page/data.js, in this order. */
static json_t *row_json(const struct report *r, struct texts *t, const struct row *row)
{
  char code[24], session[24];
  snprintf(session, sizeof session, "0x%" PRIx64, row->session);
  const bool ended = !(row->flags & (ROW_OPEN | ROW_UNWOUND));
  return json_pack("[I, i, i, I, I, I, I, I, I, i, i, I, I, I, I, I]", (json_int_t)row->number, (int)row->thread,
                   (int)row->function, ended ? text_number(t, note_rv(row->rv, code)) : (json_int_t)-1,
                   since(r, row->start), row->end ? (json_int_t)(row->end - row->start) : (json_int_t)-1,
                   (json_int_t)row->count, (json_int_t)(row->last - row->start), (json_int_t)row->longest,
                   (int)row->flags, (int)row->life, row->session ? text_number(t, session) : (json_int_t)-1,
                   text_number(t, row->text), text_number(t, row->caller), text_number(t, idiom_text(row->idiom)),
                   (json_int_t)row->left_out);
}

static json_t *rows_json(struct report *r, struct texts *t, json_t *stacks)
{
  json_t *list = json_array();
  struct row **order = model_alloc((r->rows + 1) * sizeof *order);
  for (size_t i = 0; i < r->rows; i++) order[i] = &r->row[i];
  qsort(order, r->rows, sizeof *order, by_start);
  for (size_t i = 0; i < r->rows; i++) {
    json_array_append_new(list, row_json(r, t, order[i]));
    if (order[i]->stack)
      json_array_append_new(stacks, json_pack("[I, I]", (json_int_t)i, text_number(t, order[i]->stack)));
  }
  free(order);
  return list;
}

/* --- the rest -------------------------------------------------------------------------------------------- */

static json_t *process_json(const struct report *r, const struct process *p)
{
  static const struct tally none;
  char signal[32] = "";
  if (p->signal) snprintf(signal, sizeof signal, "%d", p->signal);
  json_t *modules = json_array();
  uint16_t id[64];
  const size_t count = trace_modules(p, id, 64);
  for (size_t i = 0; i < count && i < 64; i++) {
    const struct module *m = trace_module(p, id[i]);
    if (m) json_array_append_new(modules, data_text(m->path));
  }
  char started[40];
  info_time(p->first.realtime, started);
  return json_pack("{s:o, s:I, s:o, s:s, s:s, s:s, s:o, s:s, s:o, s:I, s:I, s:I}", "program", data_text(p->program),
                   "pid", (json_int_t)p->pid, "command", data_text(p->cmdline), "verdict", info_verdict(p, &none),
                   "inside", p->ended_inside ? p->ended_inside : "", "signal", signal, "damage", data_text(p->damage),
                   "started", started, "modules", modules, "calls", (json_int_t)p->calls, "dropped",
                   (json_int_t)p->dropped, "until", since(r, r->until[p->index]));
}

/* Of too many lines those that only count sessions go first, then every n-th stays. */
static json_int_t thin_lines(json_t *lines)
{
  const size_t before = json_array_size(lines);
  for (size_t i = before; i-- > 0 && before > LINES_MOST;) {
    const char *kind = json_string_value(json_object_get(json_array_get(lines, i), "kind"));
    if (kind && (!strcmp(kind, "sessions") || !strcmp(kind, "dead"))) json_array_remove(lines, i);
  }
  lane_thin(lines, LINES_MOST);
  return (json_int_t)(before - json_array_size(lines));
}

/* What `state --json` says, and the bands. */
static json_t *slots_json(const struct report *r)
{
  char *text = NULL;
  size_t size = 0;
  FILE *to = open_memstream(&text, &size);
  if (!to) abort();
  states_json(to, &r->states);
  fclose(to);
  json_t *slots = json_loadb(text, size, 0, NULL);
  free(text);
  data_clean(slots);
  for (size_t i = 0; i < json_array_size(slots) && i < r->states.count; i++) {
    json_t *slot = json_array_get(slots, i);
    const struct life *life = r->states.life[i];
    json_t *lane[] = {lane_presence(life), lane_calls(life), lane_says(life)};
    static const char *const name[] = {"presence", "by_calls", "says"};
    for (int k = 0; k < 3; k++) {
      lane_thin(lane[k], BANDS_MOST);
      json_object_set_new(slot, name[k], lane[k]);
    }
    json_object_set_new(slot, "process", json_integer(life->process->index));
    json_object_set_new(slot, "lines_left", json_integer(thin_lines(json_object_get(slot, "lines"))));
  }
  return slots;
}

static json_t *threads_json(const struct report *r)
{
  json_t *list = json_array();
  for (size_t i = 0; i < r->threads; i++) {
    const struct report_thread *t = r->thread[i];
    json_array_append_new(list, json_pack("[i, I, s]", (int)t->process, (json_int_t)t->tid, t->name));
  }
  return list;
}

json_t *data_json(struct report *r, struct process *const *process, size_t processes, json_t *findings)
{
  json_t *list = json_array(), *functions = json_array(), *stacks = json_array();
  for (size_t i = 0; i < processes && i < 200; i++) json_array_append_new(list, process_json(r, process[i]));
  for (size_t i = 0; i < r->functions; i++) json_array_append_new(functions, json_string(r->function[i].name));
  struct texts texts = {json_array(), json_object()};
  json_t *rows = rows_json(r, &texts, stacks);
  json_t *sessions = sessions_json(r);
  json_t *data = json_pack(
      "{s:s, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O}", "version",
      P11T_VERSION, "span", since(r, r->last), "totals", "calls", (json_int_t)r->calls, "errors", (json_int_t)r->errors,
      "probes", (json_int_t)r->probes, "left_out", (json_int_t)r->left_out, "left_first", (json_int_t)r->left_first,
      "processes", (json_int_t)processes, "sessions_left", (json_int_t)sessions_left(r), "processes", list, "functions",
      functions, "threads", threads_json(r), "slots", slots_json(r), "sessions", sessions, "rows", rows, "stacks",
      stacks, "latency", latency_json(r), "texts", texts.list, "findings", findings);
  json_decref(texts.number);
  return data;
}
