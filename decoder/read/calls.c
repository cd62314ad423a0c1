/* ENTER and LEAVE to calls.
 *
 * A LEAVE names its ENTER. A call that never returns (an exception, longjmp or cancellation went through it) has none: it
 * is over when the same thread enters a function from the same stack frame or a shallower one, or when its slot goes to
 * another thread (the recorder passes slots on when a thread has ended). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/read/reader.h"

static size_t bucket(uint64_t key)
{
  return (size_t)((key * 0x9E3779B97F4A7C15ull) >> 54) & (OPEN_BUCKETS - 1);
}

static void unlink_open(struct reader *r, struct open_call *o)
{
  struct open_call **p = &r->by_number[bucket(o->call.number)];
  while (*p != NULL && *p != o) p = &(*p)->next_number;
  if (*p != NULL) *p = o->next_number;
  p = &r->by_thread[bucket(o->call.tid)];
  while (*p != NULL && *p != o) p = &(*p)->next_thread;
  if (*p != NULL) *p = o->next_thread;
  r->open--;
}

static void queue(struct reader *r, struct open_call *o, uint64_t number, uint64_t time)
{
  o->event_number = number;
  o->event_time = time;
  o->next_queued = NULL;
  if (r->queue == NULL) {
    r->queue = o;
  } else {
    r->queue_tail->next_queued = o;
  }
  r->queue_tail = o;
}

static void abandon(struct reader *r, struct open_call *o, uint64_t number, uint64_t time)
{
  unlink_open(r, o);
  o->call.state = CALL_ABANDONED;
  queue(r, o, number, time);
}

static struct open_call *new_open(struct reader *r)
{
  struct open_call *o = r->spare;
  if (o == NULL) return read_zalloc(sizeof *o);
  r->spare = o->next_number;
  memset(&o->call, 0, sizeof o->call);
  o->next_number = o->next_thread = NULL;
  return o;
}

void call_release(struct reader *r, struct open_call *o)
{
  arena_reset(&o->arena);
  o->next_number = r->spare;
  r->spare = o;
}

static const struct p11_function_info nameless = {.name = "C_Unknown", .group = P11_GROUP_GENERAL};

static struct open_call *begin(struct reader *r, const struct slot *s, const struct record *record)
{
  struct open_call *o = new_open(r);
  struct call *call = &o->call;
  call->function = (uint16_t)record->function;
  call->known = -1;
  call->info = &nameless;
  if (record->function < r->functions) {
    call->info = &r->function[record->function];
    call->known = r->known[record->function];
  }
  call->module = record->module;
  call->flags = record->flags;
  call->tid = s->tid;
  call->thread = s->thread[0] == '\0' ? "" : arena_text(&o->arena, s->thread, strlen(s->thread));
  return o;
}

static void take_stack(struct open_call *o, const struct slot *s, const struct record *record)
{
  const uint64_t *address = NULL;
  bool stale = false;
  uint32_t depth = slot_stack(s, record, &address, &stale);
  if (depth <= o->call.depth) return;
  uint64_t *copy = arena_alloc(&o->arena, depth * sizeof *copy);
  memcpy(copy, address, depth * sizeof *copy);
  o->call.stack = copy;
  o->call.depth = depth;
  o->call.stale = stale;
  o->call.caller = copy[0];
}

/* A body that does not hold what it should: said once, and the call goes on with what there is. */
static void undecoded(struct reader *r, struct open_call *o, const struct record *record)
{
  bool expected = (o->call.flags & P11T_CUT) != 0 || (record->flags & P11T_CUT) != 0;
  for (unsigned i = 0; i < o->call.info->arity; i++) {
    uint8_t kind = o->call.info->param[i].kind;
    if (kind == 0 || (kind >= P11_K_END && kind < 64)) expected = true; /* of a newer recorder */
  }
  if (!expected) {
    reader_damage(r, 0, "record %" PRIu64 " (%s) does not hold the parameters that it should", record->number,
                  o->call.info->name);
  }
  o->call.flags |= P11T_CUT;
}

/* More calls in flight than any process has threads: a trace that was tampered with. */
static void abandon_all(struct reader *r, uint64_t number, uint64_t time)
{
  for (size_t i = 0; i < OPEN_BUCKETS; i++) {
    while (r->by_number[i] != NULL) abandon(r, r->by_number[i], number, time);
  }
}

void call_enter(struct reader *r, struct slot *s, const struct record *record)
{
  uint64_t time = s->latest;
  if (r->open >= MAX_OPEN) abandon_all(r, record->number, time);
  if (record->aux != 0) {
    for (struct open_call *o = r->by_thread[bucket(s->tid)], *next; o != NULL; o = next) {
      next = o->next_thread;
      if (o->call.tid != s->tid || o->sp == 0) continue;
      if (o->sp > record->aux) break; /* newest first: those further on lie in shallower frames still */
      abandon(r, o, record->number, time);
    }
  }
  struct open_call *o = begin(r, s, record);
  o->call.number = record->number;
  o->call.start = time;
  o->call.state = CALL_OPEN;
  o->sp = record->aux;
  o->slot = (uint32_t)(s - r->slot);
  take_stack(o, s, record);
  /* The frame is gone before the call is over. */
  struct cursor body = cursor_of(arena_text(&o->arena, record->body, record->length), record->length);
  if (o->call.info == &nameless) {
    reader_damage(r, 0, "record %" PRIu64 ": function %" PRIu32 " is not in the schema", record->number,
                  record->function);
  } else if (!value_enter(r, o, &body)) {
    undecoded(r, o, record);
  }
  o->next_number = r->by_number[bucket(o->call.number)];
  r->by_number[bucket(o->call.number)] = o;
  o->next_thread = r->by_thread[bucket(o->call.tid)];
  r->by_thread[bucket(o->call.tid)] = o;
  r->open++;
  r->pending_enter = o;
}

static struct open_call *find(struct reader *r, const struct record *record)
{
  struct open_call *o = r->by_number[bucket(record->aux)];
  while (o != NULL && (o->call.number != record->aux || o->call.function != record->function)) o = o->next_number;
  return o;
}

void call_leave(struct reader *r, struct slot *s, const struct record *record)
{
  struct open_call *o = find(r, record);
  if (o == NULL) {
    o = begin(r, s, record);
    o->call.state = CALL_HEADLESS;
  } else {
    unlink_open(r, o);
    o->call.state = CALL_DONE;
    o->call.flags |= record->flags;
  }
  struct call *call = &o->call;
  call->end_number = record->number;
  call->end = s->latest;
  if (call->start > call->end) call->end = call->start; /* two pairs of clocks do not meet exactly */
  take_stack(o, s, record);
  struct cursor body = cursor_of(record->body, record->length);
  call->rv = get_n(&body);
  if (body.bad) {
    call->state = call->state == CALL_DONE ? CALL_ABANDONED : CALL_HEADLESS; /* the return code itself is lost */
    undecoded(r, o, record);
  } else if (!value_leave(r, o, &body)) {
    undecoded(r, o, record);
  }
  queue(r, o, record->number, call->end);
}

void call_thread(struct reader *r, struct slot *s, uint32_t tid, const uint8_t *name, size_t length)
{
  uint32_t slot = (uint32_t)(s - r->slot);
  /* The last slot is shared when there are more threads than slots. */
  bool handed_on = tid != s->tid && s->tid != 0 && s->frame->slot != P11T_MAX_SLOTS - 1;
  if (handed_on) {
    for (struct open_call *o = r->by_thread[bucket(s->tid)], *next; o != NULL; o = next) {
      next = o->next_thread;
      if (o->call.tid == s->tid && o->slot == slot) abandon(r, o, o->call.number, r->last_time);
    }
  }
  s->tid = tid;
  if (length > sizeof s->thread - 1) length = sizeof s->thread - 1;
  if (length > 0) memcpy(s->thread, name, length);
  s->thread[length] = '\0';
}

static int by_number(const void *a, const void *b)
{
  const struct open_call *x = *(struct open_call *const *)a, *y = *(struct open_call *const *)b;
  return x->call.number < y->call.number ? -1 : x->call.number > y->call.number;
}

/* The end: what is still open is handed out in order of number. */
void call_finish(struct reader *r)
{
  if (r->open == 0) return;
  struct open_call **all = read_zalloc(r->open * sizeof *all);
  size_t n = 0;
  for (size_t i = 0; i < OPEN_BUCKETS; i++) {
    while (r->by_number[i] != NULL) {
      all[n++] = r->by_number[i];
      unlink_open(r, r->by_number[i]);
    }
  }
  qsort(all, n, sizeof *all, by_number);
  for (size_t i = 0; i < n; i++) queue(r, all[i], all[i]->call.number, all[i]->call.start);
  free(all);
}

static void free_open(struct open_call *o)
{
  arena_free(&o->arena);
  free(o);
}

void call_free_all(struct reader *r)
{
  for (size_t i = 0; i < OPEN_BUCKETS; i++) {
    while (r->by_number[i] != NULL) {
      struct open_call *o = r->by_number[i];
      unlink_open(r, o);
      free_open(o);
    }
  }
  while (r->queue != NULL) {
    struct open_call *o = r->queue;
    r->queue = o->next_queued;
    free_open(o);
  }
  while (r->spare != NULL) {
    struct open_call *o = r->spare;
    r->spare = o->next_number;
    free_open(o);
  }
  if (r->current != NULL) free_open(r->current);
  r->current = NULL;
}
