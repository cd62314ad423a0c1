/* Records to fills of slots. Lines come in the order in which calls ended, so a call around another one comes after it: its
 * ENTER then goes to another slot of the same thread, for in a slot numbers only grow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/write/import.h"
#include "decoder/write/put.h"

enum { SHARED = P11T_MAX_SLOTS - 1, STACK_ROOM = 4096 };

static void flush(struct imported *p, size_t at)
{
  struct import_slot *s = &p->slot[at];
  const struct p11t_info info = {.kind = P11T_FRAME_EVENTS,
                                 .clock = P11T_CLOCK_MONOTONIC,
                                 .slot = (uint16_t)at,
                                 .tid = s->tid,
                                 .generation = ++s->generation};
  raw_write(&s->raw, &p->out, info);
  raw_reset(&s->raw);
  s->said = false;
  s->stacks = 0;
  s->address = 0;
}

void import_flush(struct imported *p)
{
  for (size_t i = 0; i < p->slots; i++) {
    flush(p, i);
    raw_free(&p->slot[i].raw);
  }
}

/* The slot of the thread that the number fits in; beyond what a trace has of slots, the one that all share. */
static struct import_slot *slot_for(struct imported *p, uint32_t tid, uint64_t number)
{
  for (size_t i = 0; i < p->slots && i < SHARED; i++) {
    if (p->slot[i].tid == tid && p->slot[i].last < number) return &p->slot[i];
  }
  if (p->slots <= SHARED) {
    p->slot = read_realloc(p->slot, (p->slots + 1) * sizeof *p->slot);
    p->slot[p->slots] = (struct import_slot){.tid = tid};
    return &p->slot[p->slots++];
  }
  return p->slot[SHARED].last < number ? &p->slot[SHARED] : NULL;
}

static void say_thread(struct import_slot *s, uint32_t tid, const char *thread)
{
  uint8_t body[128];
  struct put put = {body, body + sizeof body, false};
  if (s->said && s->tid == tid && strcmp(s->thread, thread) == 0) return;
  s->said = true;
  s->tid = tid;
  snprintf(s->thread, sizeof s->thread, "%s", thread);
  if (tid == 0) return;
  put_n(&put, tid);
  put_s(&put, s->thread, strlen(s->thread));
  raw_add(&s->raw,
          &(struct record){
              .kind = P11T_THREAD, .flags = P11T_FIRST | P11T_LAST, .body = body, .length = (size_t)(put.at - body)});
}

static void say_stack(struct import_slot *s, struct record *record, const uint64_t *stack, size_t depth, bool stale)
{
  uint8_t body[STACK_ROOM];
  struct put put = {body, body + sizeof body, false};
  uint64_t before = s->address;
  if (depth == 0) return;
  put_n(&put, s->stacks + 1u);
  put_n(&put, depth);
  put_u8(&put, stale ? P11T_STACK_STALE : 0);
  for (size_t i = 0; i < depth; i++) {
    put_z(&put, (int64_t)(stack[i] - before));
    before = stack[i];
  }
  if (put.full) return;
  s->address = stack[0];
  record->stack = ++s->stacks;
  raw_add(&s->raw,
          &(struct record){
              .kind = P11T_STACK, .flags = P11T_FIRST | P11T_LAST, .body = body, .length = (size_t)(put.at - body)});
}

bool import_record(struct import *im, struct imported *p, uint32_t tid, const char *thread, struct record *record,
                   const uint64_t *stack, size_t depth, bool stale)
{
  struct import_slot *s = slot_for(p, tid, record->number);
  if (s == NULL) {
    return import_fail(im,
                       "number %ju comes after larger ones, and there are too many of those: sort the lines by number",
                       (uintmax_t)record->number);
  }
  const size_t at = (size_t)(s - p->slot), more = 256 + depth * 10;
  const size_t first = record->length < P11T_PIECE ? record->length : P11T_PIECE;
  if (!raw_fits(&s->raw, first + more) || s->stacks == UINT16_MAX) flush(p, at);
  say_thread(s, tid, thread);
  say_stack(s, record, stack, depth, stale);
  struct record piece = *record;
  size_t done = 0;
  do {
    const size_t left = record->length - done, n = left < P11T_PIECE ? left : P11T_PIECE;
    if (!raw_fits(&s->raw, n)) {
      flush(p, at);
      say_thread(s, tid, thread);
    }
    piece.flags = record->flags & (uint8_t) ~(P11T_FIRST | P11T_LAST);
    if (done == 0) piece.flags |= P11T_FIRST;
    if (n == left) piece.flags |= P11T_LAST;
    piece.body = record->body + done;
    piece.length = n;
    raw_add(&s->raw, &piece);
    done += n;
  } while (done < record->length);
  s->last = record->number;
  if (record->number > p->number) p->number = record->number;
  if (record->time > p->time) p->time = record->time;
  return true;
}
