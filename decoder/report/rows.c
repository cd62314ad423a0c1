#include <stdlib.h>

#include "decoder/read/arena.h"
#include "decoder/report/report_part.h"
#include "decoder/show/dump.h"
#include "decoder/show/stack.h"
#include "decoder/show/value.h"

/* So many rows of each weight at most, and bytes of a row's parameters; the page is made to fit afterwards. */
static const size_t most[WEIGHTS] = {6000, 3000, 3000, SIZE_MAX};
enum { VALUE_LIMIT = 32, LIST_LIMIT = 8, TEXT_LIMIT = 640, STACK_LIMIT = 2000, FUNCTIONS_MOST = 1000, ROOMY = 1500 };

void *report_more(void *list, size_t count, size_t *room, size_t size)
{
  if (count < *room) return list;
  *room = *room ? *room * 2 : 64;
  return read_realloc(list, *room * size);
}

/* What was written to memory, cut between two characters. */
static char *taken(struct text *text, size_t limit)
{
  size_t n = (size_t)(text->at - text->base);
  const bool cut = n > limit;
  if (cut)
    for (n = limit; n && (text->base[n] & 0xc0) == 0x80; n--) continue;
  char *copy = model_alloc(n + 4);
  memcpy(copy, text->base, n);
  memcpy(copy + n, cut ? "..." : "", cut ? 4 : 1);
  text_close(text);
  return copy;
}

static char *shown(const char *s)
{
  struct text text;
  text_open(&text, -1);
  text_escaped(&text, s, strlen(s), "");
  return taken(&text, TEXT_LIMIT);
}

static char *caller_of(struct report *r, const struct event *event)
{
  if (!event->call->caller) return NULL;
  struct text text;
  text_open(&text, -1);
  stack_function(&text, symbols_frame(r->symbols, event->process, event->call->caller));
  return taken(&text, TEXT_LIMIT);
}

static char *stack_of(struct report *r, const struct event *event)
{
  if (event->call->depth < 2) return NULL;
  struct text text;
  text_open(&text, -1);
  for (unsigned i = 0; i < event->call->depth && i < 24; i++) {
    if (i) text_c(&text, '\n');
    stack_frame(&text, r->symbols, event->process, event->call->stack[i], false);
  }
  return taken(&text, STACK_LIMIT);
}

/* --- threads and functions ------------------------------------------------------------------------- */

static uint32_t thread_of(struct report *r, const struct event *event)
{
  const struct call *call = event->call;
  size_t i = r->threads;
  while (i && !(r->thread[i - 1]->process == event->process->index && r->thread[i - 1]->tid == call->tid)) i--;
  const char *name = call->thread ? call->thread : "";
  if (i) {
    struct report_thread *t = r->thread[i - 1];
    if (!*t->name && *name) {
      free(t->name);
      t->name = shown(name);
    }
    return (uint32_t)(i - 1);
  }
  r->thread = report_more(r->thread, r->threads, &r->thread_room, sizeof *r->thread);
  struct report_thread *t = r->thread[r->threads] = model_alloc(sizeof *t);
  t->process = event->process->index;
  t->tid = call->tid;
  t->name = shown(name);
  return (uint32_t)r->threads++;
}

uint16_t rows_function(struct report *r, const struct call *call)
{
  const bool ours = call->known >= 0;
  if (ours && r->by_known[call->known]) return (uint16_t)(r->by_known[call->known] - 1);
  char *name = ours ? NULL : shown(call->info->name);
  for (size_t i = 0; !ours && i < r->functions; i++) {
    if (strcmp(r->function[i].name, name)) continue;
    free(name);
    return (uint16_t)i;
  }
  if (r->functions == FUNCTIONS_MOST) {
    free(name);
    return FUNCTIONS_MOST - 1;
  }
  r->function = report_more(r->function, r->functions, &r->function_room, sizeof *r->function);
  r->function[r->functions] =
      (struct report_function){.name = ours ? p11_functions[call->known].name : name, .owned = !ours};
  if (ours) r->by_known[call->known] = (uint16_t)(r->functions + 1);
  return (uint16_t)r->functions++;
}

/* --- rows -------------------------------------------------------------------------------------------- */

static void free_row(struct row *row)
{
  free(row->text);
  free(row->caller);
  free(row->stack);
}

/* Calls that are not shown are counted where they would have stood. */
static void leave_out(struct report *r, size_t before, uint64_t count)
{
  r->left_out += count;
  if (before)
    r->row[before - 1].left_out += count;
  else
    r->left_first += count;
}

static void forget_recent(struct report *r)
{
  for (size_t i = 0; i < r->threads; i++) memset(r->thread[i]->recent, 0, sizeof r->thread[i]->recent);
}

/* Chosen by chance, but the same in each run: every n-th would take only the logins of logins and logouts by turns. */
static bool stays(const struct report *r, uint64_t number, enum row_weight weight)
{
  return ((number + 1) * 0x9e3779b97f4a7c15u >> 20 & (r->stride[weight] - 1)) == 0;
}

/* About half of the rows of that weight go, and of those to come as many as went before and these. */
static void halve(struct report *r, enum row_weight weight)
{
  size_t kept = 0;
  r->stride[weight] *= 2;
  for (size_t i = 0; i < r->rows; i++) {
    struct row *row = &r->row[i];
    if (row->weight != weight || stays(r, row->number, weight)) {
      r->row[kept++] = *row;
      continue;
    }
    leave_out(r, kept, row->count);
    if (kept)
      r->row[kept - 1].left_out += row->left_out;
    else
      r->left_first += row->left_out;
    free_row(row);
    r->kept[weight]--;
  }
  r->rows = kept;
  forget_recent(r);
}

bool rows_thin(struct report *r)
{
  for (int w = 0; w < WEIGHT_PROOF; w++) {
    if (r->kept[w] < 2) continue;
    halve(r, (enum row_weight)w);
    return true;
  }
  return false;
}

/* Calls that NSS and others repeat to see whether anything has changed. */
static bool is_poll(int known)
{
  switch (known) {
    case P11_F_C_GetSlotList:
    case P11_F_C_GetSlotInfo:
    case P11_F_C_GetTokenInfo:
    case P11_F_C_GetSessionInfo:
    case P11_F_C_WaitForSlotEvent: return true;
    default: return false;
  }
}

/* How far back the same call is looked for. While there is room the order stays visible: only a run of the same call is one
 * row, and polls that take turns. */
static unsigned reach(const struct report *r, const struct call *call)
{
  if (r->rows >= ROOMY) return RECENT;
  return is_poll(call->known) ? 4 : 1;
}

/* A row of the same thread that is like this call, with nothing between that tells anything. */
static struct row *like(struct report *r, uint32_t thread, const struct call *call, uint64_t key)
{
  struct report_thread *t = r->thread[thread];
  for (unsigned i = 1; i <= reach(r, call); i++) {
    const unsigned at = (t->at + RECENT - i) % RECENT;
    if (t->recent[at].key != key) continue;
    struct row *row = &r->row[t->recent[at].row];
    if (r->rows >= ROOMY || row->session == r->at.session) return row;
  }
  return NULL;
}

static void fold(const struct report *r, struct row *row, const struct call *call)
{
  const uint64_t took = call->end > call->start ? call->end - call->start : 0;
  row->count++;
  if (call->start > row->last) row->last = call->start;
  if (took > row->longest) row->longest = took;
  if (row->session != r->at.session) row->session = 0;
}

static struct row *add(struct report *r, const struct event *event, uint32_t thread, uint8_t flags)
{
  const struct call *call = event->call;
  r->row = report_more(r->row, r->rows, &r->row_room, sizeof *r->row);
  struct row *row = &r->row[r->rows++];
  *row = (struct row){.number = call->number,
                      .start = call->start ? call->start : call->end,
                      .end = call->end,
                      .count = 1,
                      .rv = call->rv,
                      .session = r->at.session,
                      .thread = thread,
                      .life = -1,
                      .function = rows_function(r, call),
                      .flags = flags,
                      .weight = (uint8_t)row_weight(flags),
                      .idiom = r->at.idiom};
  row->last = row->start;
  row->longest = call->start && call->end > call->start ? call->end - call->start : 0;
  for (size_t i = 0; r->at.life && i < r->states.count; i++)
    if (r->states.life[i] == r->at.life) row->life = (int32_t)i;
  struct text text;
  text_open(&text, -1);
  const struct printer p = {.out = &text, .limit = VALUE_LIMIT, .entries = LIST_LIMIT, .info = call->info};
  dump_arguments(&p, call);
  row->text = taken(&text, TEXT_LIMIT);
  row->caller = caller_of(r, event);
  if (row->weight >= WEIGHT_LOGIN) row->stack = stack_of(r, event);
  r->kept[row->weight]++;
  return row;
}

void rows_take(struct report *r, const struct event *event)
{
  const struct call *call = event->call;
  const bool changes =
      r->at.life && r->at.life->lines > r->at.lines && r->at.life->line[r->at.lines].kind != LINE_SESSIONS;
  const uint8_t flags = row_flags(r, event, changes);
  const enum row_weight weight = row_weight(flags);
  const uint32_t thread = thread_of(r, event);
  const bool folds = weight < WEIGHT_LOGIN && !(flags & ROW_CHANGE);
  const uint64_t key = folds ? same_key(call) : 0;
  struct row *row = folds ? like(r, thread, call, key) : NULL;
  if (row) {
    fold(r, row, call);
    return;
  }
  if (weight != WEIGHT_ANY) forget_recent(r);
  if (weight != WEIGHT_PROOF && !stays(r, call->number, weight)) {
    leave_out(r, r->rows, 1);
    return;
  }
  add(r, event, thread, flags);
  if (folds) {
    struct report_thread *t = r->thread[thread];
    t->recent[t->at].key = key;
    t->recent[t->at].row = r->rows - 1;
    t->at = (t->at + 1) % RECENT;
  }
  while (r->kept[weight] > most[weight]) halve(r, weight);
}

void rows_free(struct report *r)
{
  for (size_t i = 0; i < r->rows; i++) free_row(&r->row[i]);
  for (size_t i = 0; i < r->threads; i++) {
    free(r->thread[i]->name);
    free(r->thread[i]);
  }
  free(r->row);
  free(r->thread);
}
