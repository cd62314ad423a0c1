/* A hash table of nodes that lie in other structures. */
#include "object/object_index.h"

#include <stdlib.h>
#include <string.h>

#include "core/module.h"

#define SMALLEST 64

static uint64_t mix(uint64_t key)
{
  key = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15u; /* 2^64 over the golden ratio */
  return key ^ (key >> 29);
}

static struct tok_node **place(const struct tok_index *index, uint64_t key)
{
  struct tok_node **at = &index->bucket[mix(key) & (index->buckets - 1)];
  while (*at != NULL && (*at)->key != key) at = &(*at)->chain;
  return at;
}

static void grow(struct tok_index *index)
{
  struct tok_node **old = index->bucket;
  size_t count = index->buckets, wanted = count < SMALLEST ? SMALLEST : count * 2;
  struct tok_node **fresh = tok_alloc(wanted * sizeof *fresh);
  if (fresh == NULL) {
    if (count > 0) return;
    fresh = index->only;
    wanted = 1;
  }
  index->bucket = fresh;
  index->buckets = wanted;
  for (size_t i = 0; i < count; i++) {
    while (old[i] != NULL) {
      struct tok_node *first = old[i];
      old[i] = first->chain;
      first->chain = NULL;
      *place(index, first->key) = first;
    }
  }
  if (old != index->only) free(old);
}

void tok_index_add(struct tok_index *index, struct tok_node *node, uint64_t key, void *owner)
{
  if (index->keys >= index->buckets) grow(index);
  *node = (struct tok_node){.key = key, .owner = owner, .next = node, .previous = node};
  struct tok_node **at = place(index, key), *first = *at;
  if (first == NULL) {
    *at = node;
    index->keys++;
    return;
  }
  node->next = first;
  node->previous = first->previous;
  first->previous->next = node;
  first->previous = node;
}

void tok_index_remove(struct tok_index *index, struct tok_node *node)
{
  struct tok_node **at = place(index, node->key);
  if (*at == node) {
    if (node->next == node) {
      *at = node->chain;
      index->keys--;
    } else {
      node->next->chain = node->chain;
      *at = node->next;
    }
  }
  node->previous->next = node->next;
  node->next->previous = node->previous;
  node->next = node->previous = node;
}

struct tok_node *tok_index_first(const struct tok_index *index, uint64_t key)
{
  return index->buckets > 0 ? *place(index, key) : NULL;
}

struct tok_node *tok_index_any(const struct tok_index *index)
{
  for (size_t i = 0; i < index->buckets; i++)
    if (index->bucket[i] != NULL) return index->bucket[i];
  return NULL;
}

void tok_index_free(struct tok_index *index)
{
  if (index->bucket != index->only) free(index->bucket);
  *index = (struct tok_index){0};
}

uint64_t tok_index_hash(uint64_t seed, const void *bytes, size_t len)
{
  const unsigned char *at = bytes;
  uint64_t hash = mix(seed + 1) ^ len;
  for (; len >= 8; at += 8, len -= 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    hash = mix(hash ^ word);
  }
  uint64_t rest = 0;
  if (len > 0) memcpy(&rest, at, len);
  return mix(hash ^ rest);
}
