/* Hashes of 64 bits. They stand for what is compared: with a million different questions two of them are taken for one
 * once in forty million traces. */
#ifndef DIFF_HASH_H
#define DIFF_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_finish(uint64_t h)
{
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93u;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93u;
  return h ^ h >> 32;
}

/* The order matters. */
static inline uint64_t hash_mix(uint64_t h, uint64_t v)
{
  return hash_finish((h ^ v) * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u);
}

static inline uint64_t hash_bytes(uint64_t h, const void *bytes, size_t size)
{
  const uint8_t *at = bytes;
  uint64_t word;
  h = hash_mix(h, size);
  for (; size >= 8; at += 8, size -= 8) {
    memcpy(&word, at, 8);
    h = hash_mix(h, word);
  }
  if (size > 0) {
    word = 0;
    memcpy(&word, at, size);
    h = hash_mix(h, word);
  }
  return h;
}

static inline uint64_t hash_text(uint64_t h, const char *text)
{
  return hash_bytes(h, text, strlen(text));
}

#endif
