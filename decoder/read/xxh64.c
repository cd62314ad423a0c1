/* XXH64 with seed 0, written from the specification (xxHash doc/xxhash_spec.md). */
#include "decoder/read/xxh64.h"

#include <string.h>

#define P1 0x9E3779B185EBCA87ull
#define P2 0xC2B2AE3D27D4EB4Full
#define P3 0x165667B19E3779F9ull
#define P4 0x85EBCA77C2B2AE63ull
#define P5 0x27D4EB2F165667C5ull

static uint64_t rotate(uint64_t v, int by)
{
  return v << by | v >> (64 - by);
}

static uint64_t load(const uint8_t *p, int bytes)
{
  uint64_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
  return v;
}

static uint64_t round64(uint64_t lane, uint64_t input)
{
  return rotate(lane + input * P2, 31) * P1;
}

uint64_t xxh64(const void *bytes, size_t length)
{
  const uint8_t *p = bytes;
  size_t left = length;
  uint64_t h = P5;
  if (left >= 32) {
    uint64_t lane[4] = {P1 + P2, P2, 0, 0 - P1};
    for (; left >= 32; left -= 32) {
      for (int i = 0; i < 4; i++, p += 8) lane[i] = round64(lane[i], load(p, 8));
    }
    h = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
    for (int i = 0; i < 4; i++) h = (h ^ round64(0, lane[i])) * P1 + P4;
  }
  h += length;
  for (; left >= 8; left -= 8, p += 8) h = rotate(h ^ round64(0, load(p, 8)), 27) * P1 + P4;
  if (left >= 4) {
    h = rotate(h ^ load(p, 4) * P1, 23) * P2 + P3;
    left -= 4, p += 4;
  }
  for (; left > 0; left--, p++) h = rotate(h ^ *p * P5, 11) * P1;
  h = (h ^ h >> 33) * P2;
  h = (h ^ h >> 29) * P3;
  return h ^ h >> 32;
}
