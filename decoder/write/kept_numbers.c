#include <stdlib.h>

#include "decoder/read/arena.h"
#include "decoder/write/kept_numbers.h"

enum { SHIFT = 15, WORDS = (1 << SHIFT) / 64 };

struct kept_block {
  uint64_t key, bits[WORDS];
};

static struct kept_block **place(struct kept_block **block, size_t room, uint64_t key)
{
  size_t at = (size_t)(key * 0x9E3779B97F4A7C15ull >> 20) & (room - 1);
  while (block[at] != NULL && block[at]->key != key) at = (at + 1) & (room - 1);
  return &block[at];
}

static void grow(struct kept_numbers *k)
{
  const size_t room = k->room == 0 ? 64 : k->room * 2;
  struct kept_block **block = read_zalloc(room * sizeof *block);
  for (size_t i = 0; i < k->room; i++) {
    if (k->block[i] != NULL) *place(block, room, k->block[i]->key) = k->block[i];
  }
  free(k->block);
  k->block = block;
  k->room = room;
}

void kept_numbers_add(struct kept_numbers *k, uint64_t number)
{
  if (number == 0) return;
  if (k->blocks * 2 >= k->room) grow(k);
  struct kept_block **b = place(k->block, k->room, number >> SHIFT);
  if (*b == NULL) {
    *b = read_zalloc(sizeof **b);
    (*b)->key = number >> SHIFT;
    k->blocks++;
  }
  uint64_t *word = &(*b)->bits[(number & ((1 << SHIFT) - 1)) / 64];
  const uint64_t bit = 1ull << (number % 64);
  k->count += (*word & bit) == 0;
  *word |= bit;
}

bool kept_numbers_has(const struct kept_numbers *k, uint64_t number)
{
  if (k->room == 0 || number == 0) return false;
  const struct kept_block *b = *place(k->block, k->room, number >> SHIFT);
  return b != NULL && (b->bits[(number & ((1 << SHIFT) - 1)) / 64] >> (number % 64) & 1) != 0;
}

void kept_numbers_free(struct kept_numbers *k)
{
  for (size_t i = 0; i < k->room; i++) free(k->block[i]);
  free(k->block);
  *k = (struct kept_numbers){0};
}
