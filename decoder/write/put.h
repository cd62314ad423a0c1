/* Bounded writing of FORMAT.md's building blocks: the counterpart of cursor.h. Past the end sets `full`, and nothing more is
 * written, so that callers look once, after a whole record. */
#ifndef WRITE_PUT_H
#define WRITE_PUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct put {
  uint8_t *at, *end;
  bool full;
};

static inline void put_bytes(struct put *p, const void *bytes, size_t size)
{
  if (p->full || (size_t)(p->end - p->at) < size) {
    p->full = true;
    return;
  }
  if (size > 0) memcpy(p->at, bytes, size);
  p->at += size;
}

static inline void put_u8(struct put *p, uint8_t v)
{
  put_bytes(p, &v, 1);
}

static inline void put_u64(struct put *p, uint64_t v)
{
  put_bytes(p, &v, 8);
}

static inline void put_n(struct put *p, uint64_t v)
{
  for (; v >= 0x80; v >>= 7) put_u8(p, (uint8_t)v | 0x80);
  put_u8(p, (uint8_t)v);
}

static inline void put_z(struct put *p, int64_t v)
{
  put_n(p, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

static inline void put_u(struct put *p, uint64_t v)
{
  put_n(p, v + 1);
}

static inline void put_s(struct put *p, const void *bytes, size_t size)
{
  put_n(p, size);
  put_bytes(p, bytes, size);
}

#endif
