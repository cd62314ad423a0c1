/* Writing one record into the thread's slot. The building blocks are those of FORMAT.md.
 *
 * A record is committed by one release store of its length; until then it is not there. One that outgrows a piece is
 * committed piece by piece, with a flush between where the slot is full. */
#ifndef RECORD_WRITER_H
#define RECORD_WRITER_H

#include <stdbool.h>
#include <string.h>

#include "shim/record/clock.h"
#include "shim/record/process.h"

struct p11t_writer {
  uint8_t *p, *end; /* in the body of the current piece */
  uint8_t *record;  /* its head */
  struct p11t_thread *thread;
  struct p11t_raw head;
  uint32_t kept;   /* bytes of values kept in full so far: bounded by the option cut */
  uint32_t sealed; /* values sealed so far */
};

/* Room that a record's first piece always has, head included; longer ones may be continued. */
#define P11T_ROOM 768

/* Out of line: ends this piece, goes on in the next. */
void p11t_writer_more(struct p11t_writer *w);

/* Begins a record. The thread's slot is flushed first if it has no room. */
static inline void p11t_begin(struct p11t_writer *w, struct p11t_thread *t, uint8_t kind, uint64_t number,
                              uint64_t time)
{
  if (__builtin_expect((size_t)(t->end - t->p) < P11T_ROOM, 0)) p11t_flush_within(t);
  w->thread = t;
  w->record = t->p;
  w->p = t->p + P11T_RAW;
  size_t room = (size_t)(t->end - w->p) - 8; /* the padding is stored as 8 bytes, needed or not */
  w->end = w->p + (room < P11T_PIECE ? room : P11T_PIECE);
  w->head = (struct p11t_raw){.kind = kind, .flags = P11T_FIRST, .number = number, .time = time};
  w->kept = w->sealed = 0;
}

/* Stores head and commit word of the current piece; the thread's next record goes behind it. */
static inline void p11t_commit_piece(struct p11t_writer *w)
{
  struct p11t_thread *t = w->thread;
  uint32_t body = (uint32_t)(w->p - w->record - P11T_RAW);
  uint32_t length = (P11T_RAW + body + 7u) & ~7u;
  w->head.body = body;
  memcpy(w->record + 4, (char *)&w->head + 4, P11T_RAW - 4);
  memset(w->p, 0, 8);
  uint8_t *next = w->record + length;
  if (next < t->end) atomic_store_explicit((_Atomic uint32_t *)(void *)next, 0, memory_order_relaxed);
  atomic_store_explicit((_Atomic uint32_t *)(void *)w->record, length, memory_order_release);
  t->p = next;
}

static inline void p11t_commit(struct p11t_writer *w)
{
  w->head.flags |= P11T_LAST;
  p11t_commit_piece(w);
}

static inline void p11t_u8(struct p11t_writer *w, uint8_t v)
{
  if (__builtin_expect(w->p >= w->end, 0)) p11t_writer_more(w);
  *w->p++ = v;
}

static inline void p11t_n(struct p11t_writer *w, uint64_t v)
{
  if (__builtin_expect(w->end - w->p < 10, 0)) p11t_writer_more(w);
  uint8_t *p = w->p;
  while (v >= 0x80) {
    *p++ = (uint8_t)v | 0x80;
    v >>= 7;
  }
  *p++ = (uint8_t)v;
  w->p = p;
}

static inline void p11t_u(struct p11t_writer *w, uint64_t v)
{
  p11t_n(w, v + 1);
}
static inline void p11t_z(struct p11t_writer *w, int64_t v)
{
  p11t_n(w, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

static inline void p11t_u64(struct p11t_writer *w, uint64_t v)
{
  if (__builtin_expect(w->end - w->p < 8, 0)) p11t_writer_more(w);
  memcpy(w->p, &v, 8);
  w->p += 8;
}

/* Bytes of any number, over as many pieces as it takes. */
static inline void p11t_bytes(struct p11t_writer *w, const void *from, size_t size)
{
  const uint8_t *b = from;
  while (size > 0) {
    if (w->p >= w->end) p11t_writer_more(w);
    size_t room = (size_t)(w->end - w->p), n = size < room ? size : room;
    memcpy(w->p, b, n);
    w->p += n;
    b += n;
    size -= n;
  }
}

static inline void p11t_text(struct p11t_writer *w, const char *s)
{
  size_t n = strlen(s);
  p11t_n(w, n);
  p11t_bytes(w, s, n);
}

static inline uint64_t p11t_next_number(void)
{
  return atomic_fetch_add(&p11t_number, 1) + 1;
}

#endif
