#include "decoder/diff/detail.h"

#include <stdlib.h>

#include "decoder/read/arena.h"
#include "decoder/show/dump.h"

enum { RING = 64, WANTED = DETAIL_LINES, OBJECTS = 1 << 16, HORIZON = 4096 /* numbers behind a call: its followers */ };

/* One side of one pair while it is read. */
struct detail_reading {
  struct stream stream;
  struct dump dump;
  struct filter *all;
  struct found *found;
  struct detail *detail; /* NULL: the first difference is not here */
  int side;
  uint64_t first, last; /* number of the first difference's call, 0 none; of the last call that is wanted */
  uint32_t tid;         /* of the first's call, once it was met */
  bool met;
  struct {
    uint32_t tid;
    char *line;
  } ring[RING];
  unsigned rung;
  struct table origin; /* session handle, object key -> number of the call that handed it out */
  struct table begun;  /* session handle -> number of the call that began its operation */
  uint64_t login[2];   /* the last two logins or logouts */
  uint64_t wanted[WANTED];
  unsigned wanteds;
};

static char *line_of(struct detail_reading *r)
{
  struct text *out = &r->dump.out;
  out->at = out->base;
  dump_call(&r->dump, &r->stream.event);
  size_t size = (size_t)(out->at - out->base);
  while (size > 0 && out->base[size - 1] == '\n') size--;
  char *line = read_zalloc(size + 1);
  memcpy(line, out->base, size);
  return line;
}

static void add_line(struct detail_lines *to, char *line)
{
  if (to->count < DETAIL_LINES)
    to->line[to->count++] = line;
  else
    free(line);
}

static void remember(struct table *table, uint64_t key, uint64_t number)
{
  if (table->count < OBJECTS || table_get(table, key))
    table_put(table, key, (void *)(uintptr_t)number); /* NOLINT: a number in a table of pointers */
}

static void want(struct detail_reading *r, uint64_t number)
{
  if (number == 0 || number >= r->first || r->wanteds == WANTED) return;
  for (unsigned i = 0; i < r->wanteds; i++)
    if (r->wanted[i] == number) return;
  r->wanted[r->wanteds++] = number;
}

static uint64_t of_session(uint64_t handle)
{
  return handle ^ UINT64_C(0x8000000000000000); /* sessions and objects share one table */
}

/* What handed out this call's session and objects, began its operation, logged in. */
static void look_back(struct detail_reading *r, const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    const uint8_t kind = call->info->param[i].kind;
    const uint64_t number = call->arg[i].in.number;
    if (kind == P11_K_SESSION) {
      want(r, (uintptr_t)table_get(&r->origin, of_session(number)));
      if (names_begun(&r->stream.names, call)) want(r, (uintptr_t)table_get(&r->begun, number));
    } else if (kind == P11_K_OBJECT || kind == P11_K_KEY) {
      want(r, (uintptr_t)table_get(&r->origin, number));
    }
  }
  want(r, r->login[0]);
  want(r, r->login[1]);
}

static void note_origins(struct detail_reading *r, const struct call *call)
{
  if (call->state != CALL_DONE || call->rv != CKR_OK) return;
  const struct p11_function_info *info = call->info;
  if (info->class == P11_CLASS_LOGIN) {
    r->login[0] = r->login[1];
    r->login[1] = call->number;
  }
  for (unsigned i = 0; i < info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    const uint8_t kind = info->param[i].kind;
    if (kind == P11_K_OUT_SESSION && out->what == VALUE_NUMBER)
      remember(&r->origin, of_session(out->number), call->number);
    if (kind == P11_K_OUT_OBJECT && out->what == VALUE_NUMBER) remember(&r->origin, out->number, call->number);
    if (kind == P11_K_OUT_OBJECTS && out->what == VALUE_LIST)
      for (size_t k = 0; k < out->count; k++)
        if (!table_get(&r->origin, out->item[k].number)) remember(&r->origin, out->item[k].number, call->number);
    if ((kind == P11_K_MECHANISM || kind == P11_K_TEMPLATE) && info->param[0].kind == P11_K_SESSION &&
        (info->class == P11_CLASS_OPERATION || info->class == P11_CLASS_FIND))
      remember(&r->begun, call->arg[0].in.number, call->number);
  }
}

/* The calls around the first difference, of its thread. */
static void around(struct detail_reading *r, const struct call *call)
{
  if (r->first == 0 || r->met) {
    if (r->met && call->tid == r->tid && call->number > r->first && r->detail->after[r->side].count < DETAIL_AFTER)
      add_line(&r->detail->after[r->side], line_of(r));
    return;
  }
  if (call->number == r->first) {
    r->met = true;
    r->tid = call->tid;
    unsigned found[DETAIL_BEFORE], count = 0;
    for (unsigned i = r->rung; i > 0 && r->rung - i < RING && count < DETAIL_BEFORE; i--)
      if (r->ring[(i - 1) % RING].tid == call->tid) found[count++] = (i - 1) % RING;
    while (count > 0) {
      add_line(&r->detail->before[r->side], r->ring[found[--count]].line);
      r->ring[found[count]].line = NULL;
    }
    look_back(r, call);
    return;
  }
  if (call->number + HORIZON < r->first) return;
  free(r->ring[r->rung % RING].line);
  r->ring[r->rung % RING].tid = call->tid;
  r->ring[r->rung++ % RING].line = line_of(r);
}

static void kinds_of(struct detail_reading *r, const struct diff_pair *pair, const struct exchange *e)
{
  for (unsigned i = 0; i < r->found->kinds; i++) {
    struct found_kind *k = &r->found->kind[i];
    if (k->pair != pair || k->number[r->side] != e->number || k->call[r->side].line) continue;
    struct shape shape = {.parts = &k->call[r->side].parts};
    shape_call(&shape, &r->stream.names, r->stream.event.call);
    k->call[r->side].line = line_of(r);
  }
}

static bool open_reading(struct detail_reading *r, const struct diff_pair *pair, const struct dump_options *options,
                         const struct diff_options *diff)
{
  if (!stream_open(&r->stream, pair, r->side, diff)) return false;
  r->dump.processes = 0;
  dump_begin(&r->dump, options, -1);
  r->dump.origin = r->dump.last = r->stream.process->origin;
  r->dump.many_threads = r->stream.module->threads;
  return true;
}

static void close_reading(struct detail_reading *r)
{
  text_close(&r->dump.out);
  symbols_free(r->dump.symbols);
  free(r->dump.first);
  stream_close(&r->stream);
}

/* The calls that `want` found. */
static bool read_history(struct detail_reading *r, const struct diff_pair *pair, const struct dump_options *options,
                         const struct diff_options *diff)
{
  struct exchange e;
  uint64_t login;
  close_reading(r);
  if (!open_reading(r, pair, options, diff)) return false;
  while (stream_next(&r->stream, &e, &login) && e.number < r->first)
    for (unsigned i = 0; i < r->wanteds; i++)
      if (r->wanted[i] == e.number) add_line(&r->detail->history[r->side], line_of(r));
  return true;
}

static bool read_side(struct found *found, struct detail *detail, const struct diff_pair *pair, int side,
                      const struct diff_options *diff)
{
  struct dump_options options = {.quiet = true, .color = diff->color, .limit = 32, .filter = stream_filter(diff)};
  struct diff_options all = *diff; /* the history holds calls that the filter does not want */
  all.expressions = all.call_sets = 0;
  struct detail_reading *r = read_zalloc(sizeof *r);
  *r = (struct detail_reading){.found = found, .side = side};
  for (unsigned i = 0; i < found->kinds; i++) {
    const struct found_kind *k = &found->kind[i];
    if (k->pair != pair) continue;
    if (k->number[side] > r->last) r->last = k->number[side];
    if ((int)i == found->first) {
      r->detail = detail;
      r->first = k->number[side];
    }
  }
  const bool opened = open_reading(r, pair, &options, &all);
  struct exchange e;
  uint64_t login;
  const uint64_t end = r->last + HORIZON;
  while (opened && stream_next(&r->stream, &e, &login) && e.number <= end) {
    kinds_of(r, pair, &e);
    if (r->first) {
      around(r, r->stream.event.call);
      if (!r->met) note_origins(r, r->stream.event.call);
    }
    stream_see(&r->stream, &e);
  }
  bool good = opened;
  if (opened && r->wanteds) good = read_history(r, pair, &options, &all);
  if (good) close_reading(r);
  for (unsigned i = 0; i < RING; i++) free(r->ring[i].line);
  table_clear(&r->origin, NULL);
  table_clear(&r->begun, NULL);
  filter_free(options.filter);
  free(r);
  return good;
}

bool detail_read(struct found *found, struct detail *detail, const struct diff_options *options)
{
  *detail = (struct detail){0};
  for (unsigned i = 0; i < found->kinds; i++) {
    const struct diff_pair *pair = found->kind[i].pair;
    bool done = false;
    for (unsigned k = 0; k < i && !done; k++) done = found->kind[k].pair == pair;
    for (int side = 0; !done && side < SIDES; side++)
      if (pair->module[side] && !read_side(found, detail, pair, side, options)) return false;
  }
  return true;
}

void detail_free(struct detail *detail)
{
  for (int side = 0; side < SIDES; side++) {
    struct detail_lines *const all[] = {&detail->before[side], &detail->after[side], &detail->history[side]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
      for (unsigned k = 0; k < all[i]->count; k++) free(all[i]->line[k]);
  }
}
