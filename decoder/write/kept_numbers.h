/* Numbers of the calls that stay: a bit each, in blocks of 32,768 numbers. */
#ifndef WRITE_KEPT_NUMBERS_H
#define WRITE_KEPT_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kept_block;

struct kept_numbers {
  struct kept_block **block; /* a hash table */
  size_t blocks, room;
  uint64_t count; /* of numbers */
};

void kept_numbers_add(struct kept_numbers *k, uint64_t number);
bool kept_numbers_has(const struct kept_numbers *k, uint64_t number);
void kept_numbers_free(struct kept_numbers *k);

#endif
