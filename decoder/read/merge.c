/* The records of all slots of one process in order of number.
 *
 * A slot gets its records in order, so it is enough to keep the slots in a heap by the number of their next record. A
 * frame is decompressed only when its smallest number has come to the top, and its memory goes with its last record: an
 * idle thread's records cost nothing until they are due. Records without number (stacks, threads, clocks, objects) take
 * effect when the slot passes them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/read/reader.h"

static void read_stack(struct slot *s, const struct record *record)
{
  struct cursor c = cursor_of(record->body, record->length);
  uint64_t index = get_n(&c), depth = get_n(&c), address = 0;
  uint8_t flags = get_u8(&c);
  /* Index counts from 1 in this fill; one address is at least one byte. */
  if (c.bad || index == 0 || index > UINT16_MAX || depth > cursor_left(&c)) return;
  if (index > s->stacks) {
    s->stack = read_realloc(s->stack, (size_t)index * sizeof *s->stack);
    memset(s->stack + s->stacks, 0, ((size_t)index - s->stacks) * sizeof *s->stack);
    s->stacks = (size_t)index;
  }
  if (s->addresses + depth > s->address_room) {
    s->address_room = s->addresses + (size_t)depth + 256;
    s->address = read_realloc(s->address, s->address_room * sizeof *s->address);
  }
  struct stack_entry *e = &s->stack[index - 1];
  if (index > 1 && s->stack[index - 2].depth > 0) address = s->address[s->stack[index - 2].offset];
  e->offset = (uint32_t)s->addresses;
  e->depth = 0;
  e->stale = flags & STACK_STALE;
  for (uint64_t i = 0; i < depth; i++) {
    address += get_z(&c);
    if (c.bad) return;
    s->address[s->addresses++] = address;
    e->depth++;
  }
}

static void keep_owner(struct reader *r, struct cursor *c, uint32_t tid, const uint8_t *name, size_t length)
{
  struct owner o = {.tid = tid, .slot = get_n(c), .generation = get_n(c)};
  if (c->bad || r->owners >= MAX_TABLE) return;
  o.name = arena_text(&r->texts, name, length);
  r->owner = read_realloc(r->owner, (r->owners + 1) * sizeof *r->owner);
  r->owner[r->owners++] = o;
}

/* Whose the fill is from its beginning on. */
static void begin_fill(struct reader *r, struct slot *s, const struct frame_ref *f)
{
  const struct owner *found = NULL;
  uint32_t tid = f->tid;
  for (size_t i = r->owners; i-- > 0 && found == NULL;) {
    if (r->owner[i].slot == f->slot && r->owner[i].generation == f->generation) found = &r->owner[i];
  }
  if (found != NULL) tid = found->tid;
  if (s->tid == tid && found == NULL) return;
  for (size_t i = r->owners; i-- > 0 && found == NULL;) {
    if (r->owner[i].tid == tid) found = &r->owner[i];
  }
  s->tid = tid;
  snprintf(s->thread, sizeof s->thread, "%s", found == NULL ? "" : found->name);
}

static void unnumbered(struct reader *r, struct slot *s, const struct record *record)
{
  struct cursor c = cursor_of(record->body, record->length);
  switch (record->kind) {
    case P11T_STACK: read_stack(s, record); break;
    case P11T_TIME: clock_record(r, s, record); break;
    case P11T_OBJECT: table_object(r, s, record); break;
    case P11T_THREAD: {
      uint64_t tid = get_n(&c);
      size_t length;
      const uint8_t *name = get_s(&c, &length);
      if (c.bad || tid > UINT32_MAX) break;
      if (s->source.frame != NULL && s->source.frame->kind == P11T_FRAME_TABLES)
        keep_owner(r, &c, (uint32_t)tid, name, length);
      else
        call_thread(r, s, (uint32_t)tid, name, length);
      break;
    }
    default: break;
  }
}

uint32_t slot_stack(const struct slot *s, const struct record *record, const uint64_t **address, bool *stale)
{
  if (s->from_chain) {
    *address = s->chain_stack;
    *stale = s->chain_stale;
    return s->chain_depth;
  }
  if (record->stack == 0 || record->stack > s->stacks) return 0;
  const struct stack_entry *e = &s->stack[record->stack - 1];
  if (e->depth == 0) return 0;
  *address = s->address + e->offset;
  *stale = e->stale;
  return e->depth;
}

/* Ends the chain that is being joined: its record is the next one. */
static void finish_chain(struct slot *s, bool whole)
{
  s->record = s->chain;
  s->record.body = s->join;
  s->record.length = s->chain_headless ? 0 : s->joined;
  s->record.flags |= P11T_FIRST | P11T_LAST;
  if (!whole || s->chain_cut) s->record.flags |= P11T_CUT;
  s->in_chain = false;
  s->from_chain = true;
}

/* The stack of a chain belongs to the fill of its first piece, which may be over when the last one comes. */
static void keep_chain_stack(struct slot *s)
{
  const uint64_t *address = NULL;
  s->chain_stale = false;
  s->chain_depth = slot_stack(s, &s->chain, &address, &s->chain_stale);
  s->chain_stack = read_realloc(s->chain_stack, s->chain_depth * sizeof *address);
  if (s->chain_depth > 0) memcpy(s->chain_stack, address, s->chain_depth * sizeof *address);
}

static void append_piece(struct slot *s, const struct record *piece)
{
  s->chain.flags |= piece->flags & P11T_CUT;
  if (piece->length > MAX_CHAIN - s->joined) {
    s->chain_cut = true;
    return;
  }
  if (s->joined + piece->length > s->join_room) {
    s->join_room = (s->joined + piece->length) * 2;
    s->join = read_realloc(s->join, s->join_room);
  }
  if (piece->length > 0) memcpy(s->join + s->joined, piece->body, piece->length);
  s->joined += piece->length;
}

/* The next record of the open frame, pieces joined, into s->record; false at the end of the frame. */
static bool next_record(struct reader *r, struct slot *s)
{
  struct record piece;
  s->from_chain = false;
  while (s->has_held || source_next(r, &s->source, &piece)) {
    if (s->has_held) {
      piece = s->held;
      s->has_held = false;
    } else {
      r->pieces++;
    }
    if (s->in_chain && !P11T_NUMBERED(piece.kind)) { /* where a flight recorder's thread went on in another slot */
      unnumbered(r, s, &piece);
      continue;
    }
    bool first = piece.flags & P11T_FIRST, last = piece.flags & P11T_LAST;
    if (s->in_chain && (first || piece.kind != s->chain.kind || piece.number != s->chain.number)) {
      s->held = piece; /* the chain never ended */
      s->has_held = true;
      finish_chain(s, false);
      return true;
    }
    if (first && last) {
      s->record = piece;
      return true;
    }
    if (!s->in_chain) {
      s->in_chain = true;
      s->chain = piece;
      s->chain_cut = s->chain_headless = !first; /* its beginning is lost */
      s->joined = 0;
      keep_chain_stack(s);
    }
    append_piece(s, &piece);
    if (last) {
      finish_chain(s, true);
      return true;
    }
  }
  return false;
}

static bool open_frame(struct reader *r, struct slot *s)
{
  const struct frame_ref *f = &s->frame[s->next++], *before = s->next >= 2 ? f - 1 : NULL;
  bool goes_on = r->followed && f->kind == P11T_FRAME_EVENTS && f->generation == s->generation;
  if (!goes_on) s->stacks = s->addresses = 0;
  s->generation = f->generation;
  s->arrived = f->arrived;
  free(s->source.fed);
  s->source.fed = NULL;
  if (s->has_base && s->clock != f->clock) s->has_base = false;
  s->clock = f->clock;
  if (f->kind == P11T_FRAME_EVENTS && (s->tid == 0 || (before != NULL && before->generation + 1 != f->generation))) {
    begin_fill(r, s, f); /* the THREAD record was lost with a frame, or is the first one to come */
  }
  if (!source_open(r, &s->source, f)) return false;
  struct record read;
  for (uint32_t i = 0; i < f->skip && source_next(r, &s->source, &read);) i++;
  return true;
}

/* Moves to the next numbered record. Where the next frame's header says enough, the frame stays closed. */
static void advance(struct reader *r, struct slot *s, bool open)
{
  for (;;) {
    while (s->source.frame != NULL && next_record(r, s)) {
      if (P11T_NUMBERED(s->record.kind)) {
        s->state = SLOT_READY;
        s->key = s->record.number;
        s->key_time = s->record.time;
        clock_look_ahead(r, s);
        return;
      }
      unnumbered(r, s, &s->record);
    }
    s->source.frame = NULL;
    if (s->next == s->frames) {
      if (s->in_chain && !r->tailing) {
        finish_chain(s, false);
        if (!P11T_NUMBERED(s->record.kind)) continue;
        s->state = SLOT_READY;
        s->key = s->record.number;
        s->key_time = s->record.time;
        return;
      }
      source_close(&s->source);
      table_settle(r, s);
      s->state = SLOT_DONE;
      return;
    }
    if (!open && !r->tailing && s->frame[s->next].first_number != 0) {
      s->state = SLOT_CLOSED;
      s->key = s->in_chain ? s->chain.number : s->frame[s->next].first_number;
      s->key_time = s->in_chain ? s->chain.time : s->frame[s->next].first_time;
      source_close(&s->source);
      return;
    }
    open = false;
    if (!open_frame(r, s)) s->source.frame = NULL;
  }
}

static bool smaller(const struct reader *r, uint32_t a, uint32_t b)
{
  const struct slot *x = &r->slot[a], *y = &r->slot[b];
  return x->key != y->key ? x->key < y->key : a < b;
}

static void sift_down(struct reader *r, size_t at)
{
  for (;;) {
    size_t least = at, left = 2 * at + 1;
    if (left < r->heap_size && smaller(r, r->heap[left], r->heap[least])) least = left;
    if (left + 1 < r->heap_size && smaller(r, r->heap[left + 1], r->heap[least])) least = left + 1;
    if (least == at) return;
    uint32_t swap = r->heap[at];
    r->heap[at] = r->heap[least];
    r->heap[least] = swap;
    at = least;
  }
}

void merge_feed(struct reader *r, struct slot *s)
{
  if (s->state != SLOT_DONE) return;
  advance(r, s, true);
  if (s->state == SLOT_DONE) return;
  size_t at = r->heap_size++;
  r->heap[at] = (uint32_t)(s - r->slot);
  for (size_t up; at > 0 && smaller(r, r->heap[at], r->heap[up = (at - 1) / 2]); at = up) {
    uint32_t swap = r->heap[at];
    r->heap[at] = r->heap[up];
    r->heap[up] = swap;
  }
}

void merge_start(struct reader *r)
{
  if (r->started) return;
  r->started = true;
  for (size_t i = 0; i < r->frames; i++) {
    const struct frame_ref *f = &r->frame[i], *before = i == 0 ? NULL : f - 1;
    if (before == NULL || before->kind != f->kind || (f->kind == P11T_FRAME_EVENTS && before->slot != f->slot))
      r->slots++;
  }
  r->slot = read_zalloc(r->slots * sizeof *r->slot);
  r->heap = read_zalloc(r->slots * sizeof *r->heap);
  size_t n = 0;
  for (size_t i = 0; i < r->frames; i++) {
    const struct frame_ref *f = &r->frame[i], *before = i == 0 ? NULL : f - 1;
    if (before == NULL || before->kind != f->kind || (f->kind == P11T_FRAME_EVENTS && before->slot != f->slot)) {
      r->slot[n++].frame = f;
    }
    r->slot[n - 1].frames++;
  }
  for (size_t i = 0; i < r->slots; i++) {
    struct slot *s = &r->slot[i];
    s->clock = s->frame->clock;
    advance(r, s, false);
    if (s->state != SLOT_DONE) r->heap[r->heap_size++] = (uint32_t)i;
  }
  for (size_t i = r->heap_size; i-- > 0;) sift_down(r, i);
}

struct slot *merge_top(struct reader *r)
{
  while (r->heap_size > 0) {
    struct slot *s = &r->slot[r->heap[0]];
    if (s->state == SLOT_READY) return s;
    advance(r, s, true);
    if (s->state == SLOT_DONE) r->heap[0] = r->heap[--r->heap_size];
    sift_down(r, 0);
  }
  return NULL;
}

void merge_advance(struct reader *r)
{
  struct slot *s = &r->slot[r->heap[0]];
  advance(r, s, false);
  if (s->state == SLOT_DONE) r->heap[0] = r->heap[--r->heap_size];
  sift_down(r, 0);
}

bool merge_peek(const struct reader *r, uint64_t *ns)
{
  if (r->heap_size == 0) return false;
  const struct slot *s = &r->slot[r->heap[0]];
  *ns = clock_time(r, s, s->key_time);
  return true;
}

void merge_free(struct reader *r)
{
  for (size_t i = 0; i < r->slots; i++) {
    struct slot *s = &r->slot[i];
    source_close(&s->source);
    free(s->join);
    free(s->stack);
    free(s->address);
    free(s->chain_stack);
  }
  free(r->slot);
  free(r->heap);
  r->slot = NULL;
  r->heap = NULL;
  r->slots = r->heap_size = 0;
}
