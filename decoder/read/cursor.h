/* A bounded cursor: the one way in which bytes of a trace are read.
 *
 * Running past the end sets `bad`; from then on every read answers 0 and moves nothing, so that callers look once, after
 * a whole record. The building blocks u8 ... S are those of FORMAT.md. */
#ifndef READ_CURSOR_H
#define READ_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
  const uint8_t *at, *end;
  bool bad;
};

static inline struct cursor cursor_of(const void *bytes, size_t length)
{
  static const uint8_t nothing[1];
  const uint8_t *p = bytes == NULL ? nothing : bytes;
  return (struct cursor){p, p + (bytes == NULL ? 0 : length), false};
}

static inline size_t cursor_left(const struct cursor *c)
{
  return (size_t)(c->end - c->at);
}

static inline void cursor_fail(struct cursor *c)
{
  c->bad = true;
  c->at = c->end;
}

/* `length` bytes in place, or NULL (and bad) when there are fewer. */
static inline const uint8_t *get_bytes(struct cursor *c, uint64_t length)
{
  if (length > cursor_left(c)) {
    cursor_fail(c);
    return NULL;
  }
  const uint8_t *p = c->at;
  c->at += length;
  return p;
}

static inline uint8_t get_u8(struct cursor *c)
{
  if (c->at == c->end) {
    c->bad = true;
    return 0;
  }
  return *c->at++;
}

static inline uint16_t get_u16(struct cursor *c)
{
  const uint8_t *p = get_bytes(c, 2);
  return p == NULL ? 0 : (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_u32(struct cursor *c)
{
  const uint8_t *p = get_bytes(c, 4);
  return p == NULL ? 0 : (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_u64(struct cursor *c)
{
  uint64_t low = get_u32(c);
  return low | (uint64_t)get_u32(c) << 32;
}

/* N: at most ten bytes, the tenth holds one bit. */
static inline uint64_t get_n(struct cursor *c)
{
  if (c->at != c->end && *c->at < 0x80) return *c->at++;
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (c->at == c->end) break;
    uint8_t byte = *c->at++;
    if (shift == 63 && byte > 1) break;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  cursor_fail(c);
  return 0;
}

/* Z: a difference, to be added modulo 2^64. */
static inline uint64_t get_z(struct cursor *c)
{
  uint64_t n = get_n(c);
  return (n >> 1) ^ (0 - (n & 1));
}

/* U: a CK_ULONG; UINT64_MAX is CK_UNAVAILABLE_INFORMATION. */
static inline uint64_t get_u(struct cursor *c)
{
  return get_n(c) - 1;
}

/* S: the bytes in place. */
static inline const uint8_t *get_s(struct cursor *c, size_t *length)
{
  uint64_t n = get_n(c);
  const uint8_t *p = get_bytes(c, n);
  *length = p == NULL ? 0 : (size_t)n;
  return p;
}

#endif
