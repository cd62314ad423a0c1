#include "decoder/write/refill.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/write/outputs.h"
#include "decoder/write/put.h"
#include "decoder/write/raw.h"

/* A record in pieces: joined at its first piece, written piece by piece where the pieces were. */
struct chain {
  bool active, stays, whole;
  uint64_t number;
  uint8_t kind;
  uint8_t *body;
  size_t length, room, at;
  bool begun; /* a piece of it was written */
};

/* STACK records of the fill, by index: which ones are needed, their first addresses, and the indices that they have now. */
struct stacks {
  uint64_t address[UINT16_MAX + 1];
  bool wanted[UINT16_MAX + 1], known[UINT16_MAX + 1];
  uint16_t now[UINT16_MAX + 1];
  size_t top;       /* indices up to here may be set */
  uint16_t written; /* how many there are now */
  uint64_t last;    /* first address of the one written last, 0 none */
};

struct job {
  const struct refill *how;
  struct reader *r;
  struct out *out;
  struct raw raw;
  struct chain chain;
  struct source source, ahead;
  struct stacks *stacks;
  /* THREAD and TIME of fills that went, for the next one of their slot. */
  struct record thread, time;
  uint8_t thread_body[256], time_body[64];
  uint8_t *made; /* a STACK record */
  size_t made_room;
};

static bool is_first(const struct record *piece)
{
  return (piece->flags & P11T_FIRST) != 0;
}

static bool is_last(const struct record *piece)
{
  return (piece->flags & P11T_LAST) != 0;
}

static void append(struct chain *c, const struct record *piece)
{
  if (piece->length > MAX_CHAIN - c->length) {
    c->whole = false;
    return;
  }
  if (c->length + piece->length > c->room) {
    c->room = (c->length + piece->length) * 2;
    c->body = read_realloc(c->body, c->room);
  }
  if (piece->length > 0) memcpy(c->body + c->length, piece->body, piece->length);
  c->length += piece->length;
}

/* The pieces behind `first`, in this fill and the next ones of the slot. True when the last one was among them. */
static bool gather(struct job *j, size_t frame, const struct source *here, const struct record *first)
{
  struct chain *c = &j->chain;
  const struct frame_ref *f = j->r->frame;
  struct source now = *here, *s = &now;
  struct record piece;
  c->length = 0;
  c->whole = true;
  append(c, first);
  for (;;) {
    while (source_next(j->r, s, &piece)) {
      if (!P11T_NUMBERED(piece.kind)) continue;
      if (is_first(&piece) || piece.kind != first->kind || piece.number != first->number) return false;
      append(c, &piece);
      if (is_last(&piece)) return c->whole;
    }
    frame++;
    if (frame >= j->r->frames || f[frame].kind != f[frame - 1].kind || f[frame].slot != f[frame - 1].slot) return false;
    s = &j->ahead;
    if (!source_open(j->r, s, &f[frame])) return false;
  }
}

static void begin_chain(struct job *j, size_t frame, const struct source *here, const struct record *piece)
{
  struct chain *c = &j->chain;
  struct record record = *piece;
  c->whole = gather(j, frame, here, piece);
  c->active = c->stays = true;
  c->begun = false;
  c->number = piece->number;
  c->kind = piece->kind;
  c->at = 0;
  if (j->how->change == NULL) return;
  record.body = c->body;
  record.length = c->length;
  c->stays = j->how->change(j->how->user, &record, c->whole);
  if (record.body == c->body) return;
  if (record.length > c->room) c->body = read_realloc(c->body, c->room = record.length);
  if (record.length > 0) memcpy(c->body, record.body, record.length);
  c->length = record.length;
  c->whole = true; /* what was made anew ends where it ends */
}

/* The part of the chain that belongs where `piece` was: all of the rest at its last piece. */
static void put_chain(struct job *j, const struct record *place)
{
  struct chain *c = &j->chain;
  const bool last = is_last(place);
  struct record piece = *place;
  size_t room = place->length;
  while (c->stays && (!c->begun || c->at < c->length)) {
    const size_t left = c->length - c->at;
    size_t n = last || room > left ? left : room;
    if (n > P11T_PIECE) n = P11T_PIECE;
    piece.flags &= (uint8_t) ~(P11T_FIRST | P11T_LAST);
    if (!c->begun) piece.flags |= P11T_FIRST;
    if (c->whole && c->at + n == c->length) piece.flags |= P11T_LAST;
    piece.body = c->body + c->at;
    piece.length = n;
    raw_add(&j->raw, &piece);
    c->begun = true;
    c->at += n;
    if (!last) break;
  }
  if (last) c->active = false;
}

/* The next numbered piece; pieces of a record that goes are stepped over. */
static void put_piece(struct job *j, size_t frame, const struct source *here, const struct record *piece)
{
  struct chain *c = &j->chain;
  struct record record = *piece;
  const bool goes_on = c->active && !is_first(piece) && piece->kind == c->kind && piece->number == c->number;
  if (!goes_on) c->active = false;
  if (j->how->stays != NULL && !j->how->stays(j->how->user, piece)) return;
  record.stack = piece->stack <= UINT16_MAX ? j->stacks->now[piece->stack] : 0;
  if (is_first(piece) && is_last(piece)) {
    if (j->how->change == NULL || j->how->change(j->how->user, &record, true)) raw_add(&j->raw, &record);
    return;
  }
  if (is_first(piece)) begin_chain(j, frame, here, &record);
  if (is_first(piece) || goes_on) {
    put_chain(j, &record);
    return;
  }
  if (j->how->change != NULL) { /* its beginning is lost: nobody can tell what the rest says */
    record.length = 0;
    if (!j->how->change(j->how->user, &record, false)) return;
  }
  raw_add(&j->raw, &record);
}

/* Its index is the next one, and its addresses are differences to the one before: it is written anew where others went. */
static void put_stack(struct job *j, const struct record *stack)
{
  struct stacks *s = j->stacks;
  struct cursor c = cursor_of(stack->body, stack->length);
  const uint64_t index = get_n(&c), depth = get_n(&c);
  const uint8_t flags = get_u8(&c);
  if (c.bad || index == 0 || index > UINT16_MAX) return;
  if (index > s->top) s->top = (size_t)index;
  const uint64_t before = index > 1 && s->known[index - 1] ? s->address[index - 1] : 0, base = s->last;
  const struct cursor all = c;
  s->known[index] = depth > 0;
  s->address[index] = depth > 0 ? before + get_z(&c) : 0;
  if (j->how->stays != NULL && !s->wanted[index]) return;
  s->now[index] = ++s->written;
  s->last = s->address[index];
  if (base == before && s->now[index] == index) {
    raw_add(&j->raw, stack);
    return;
  }
  if (j->made_room < stack->length + 32) j->made = read_realloc(j->made, j->made_room = stack->length + 4096);
  struct put put = {j->made, j->made + j->made_room, false};
  put_n(&put, s->now[index]);
  put_n(&put, depth);
  put_u8(&put, flags);
  if (depth > 0) {
    put_z(&put, (int64_t)(s->address[index] - base));
  } else {
    c = all;
  }
  put_bytes(&put, c.at, cursor_left(&c));
  struct record record = *stack;
  record.body = j->made;
  record.length = (size_t)(put.at - j->made);
  raw_add(&j->raw, &record);
}

static void remember(struct record *to, uint8_t *body, size_t room, const struct record *from)
{
  if (from->length > room) return;
  *to = *from;
  memcpy(body, from->body, from->length);
  to->body = body;
}

/* Nothing of the fill stays but what goes on to hold: it need not be there. */
static void pass_over(struct job *j)
{
  struct record record;
  while (source_next(j->r, &j->source, &record)) {
    if (record.kind == P11T_THREAD) remember(&j->thread, j->thread_body, sizeof j->thread_body, &record);
    if (record.kind == P11T_TIME) remember(&j->time, j->time_body, sizeof j->time_body, &record);
  }
  j->chain.active = false;
}

static void forget_stacks(struct stacks *s)
{
  memset(s->wanted, 0, (s->top + 1) * sizeof *s->wanted);
  memset(s->known, 0, (s->top + 1) * sizeof *s->known);
  memset(s->now, 0, (s->top + 1) * sizeof *s->now);
  s->top = s->written = 0;
  s->last = 0;
}

/* Marks the STACK records that are needed; false when nothing of the fill is. */
static bool look(struct job *j, struct source here)
{
  bool any = j->how->stays == NULL;
  struct record record;
  forget_stacks(j->stacks);
  while (source_next(j->r, &here, &record)) {
    if (record.kind == P11T_OBJECT) any = true;
    if (!P11T_NUMBERED(record.kind) || j->how->stays == NULL || !j->how->stays(j->how->user, &record)) continue;
    any = true;
    if (record.stack == 0 || record.stack > UINT16_MAX) continue;
    j->stacks->wanted[record.stack] = true;
    if (record.stack > j->stacks->top) j->stacks->top = record.stack;
  }
  return any;
}

static void one_fill(struct job *j, size_t frame)
{
  const struct frame_ref *f = &j->r->frame[frame];
  const bool new_slot = frame == 0 || f[-1].slot != f->slot || f[-1].kind != f->kind;
  struct record record;
  if (new_slot) {
    j->thread.length = j->time.length = 0;
    j->chain.active = false;
  }
  if (!source_open(j->r, &j->source, f)) return;
  if (!look(j, j->source)) {
    pass_over(j);
    return;
  }
  raw_reset(&j->raw);
  if (j->thread.length > 0) raw_add(&j->raw, &j->thread);
  if (j->time.length > 0) raw_add(&j->raw, &j->time);
  j->thread.length = j->time.length = 0;
  while (source_next(j->r, &j->source, &record)) {
    if (record.kind == P11T_STACK) {
      put_stack(j, &record);
    } else if (P11T_NUMBERED(record.kind)) {
      put_piece(j, frame, &j->source, &record);
    } else if (j->how->change == NULL || j->how->change(j->how->user, &record, true)) {
      raw_add(&j->raw, &record);
    }
  }
  const struct p11t_info info = {.kind = f->kind,
                                 .clock = f->clock,
                                 .slot = f->slot,
                                 .tid = f->tid,
                                 .generation = f->generation,
                                 .dropped = (uint32_t)j->r->p.dropped};
  if (!raw_write(&j->raw, j->out, info)) {
    reader_damage(j->r, f->content, "the frame of slot %u, fill %" PRIu32 " is larger than this p11trace writes",
                  f->slot, f->generation);
  }
}

void refill_all(const struct refill *refill, struct reader *r, struct out *out)
{
  struct job j = {.how = refill, .r = r, .out = out, .stacks = read_zalloc(sizeof(struct stacks))};
  for (size_t i = 0; i < r->frames && out->error == 0 && !outputs_stop(); i++) {
    outputs_progress(refill->verb, i, r->frames);
    one_fill(&j, i);
  }
  raw_free(&j.raw);
  source_close(&j.source);
  source_close(&j.ahead);
  free(j.chain.body);
  free(j.made);
  free(j.stacks);
}
