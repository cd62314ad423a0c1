/* A hash table of nodes that lie in other structures, by a 64-bit key; many nodes may have the same key.
 *
 * Nodes of one key hang together in a ring, so that a key which thousands share (a label, a session) makes no other key
 * slower. Adding cannot fail: without memory to grow, chains get longer. Not thread-safe. */
#ifndef TOK_OBJECT_INDEX_H
#define TOK_OBJECT_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tok_node {
  uint64_t key;
  void *owner;            /* whose node it is */
  struct tok_node *chain; /* the next key of the bucket; of the first node of a ring only */
  struct tok_node *next, *previous;
};

struct tok_index {
  struct tok_node **bucket;
  size_t buckets; /* a power of two, or 0 before the first node */
  size_t keys;
  struct tok_node *only[1]; /* the bucket to be used when there is no memory */
};

void tok_index_add(struct tok_index *index, struct tok_node *node, uint64_t key, void *owner);
void tok_index_remove(struct tok_index *index, struct tok_node *node);
/* The first node of the key, or NULL. The others follow by `next`, back to the first. */
struct tok_node *tok_index_first(const struct tok_index *index, uint64_t key);
/* Any node, or NULL if there is none: to empty the table. */
struct tok_node *tok_index_any(const struct tok_index *index);
void tok_index_free(struct tok_index *index); /* the table, not the nodes */

/* A key from bytes, not collision-free: what is found by it is compared. */
uint64_t tok_index_hash(uint64_t seed, const void *bytes, size_t len);

#endif
