/* A hash table from a 64-bit key (a handle, a slot id, a call number) to a pointer. Lookups of absent keys are cheap,
 * deletions leave no tombstones: tables of sessions live through millions of opens and closes. */
#ifndef MODEL_TABLE_H
#define MODEL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_entry {
  uint64_t key;
  void *value; /* NULL: the place is free */
};

/* All zero is an empty table. */
struct table {
  struct table_entry *entry;
  size_t count, room; /* room is 0 or a power of two */
};

/* The value of `key`, NULL when there is none. */
void *table_get(const struct table *table, uint64_t key);
/* Sets the value (not NULL) of `key`; returns the one that it had, or NULL. */
void *table_put(struct table *table, uint64_t key, void *value);
/* Removes `key` and returns its value, or NULL. */
void *table_take(struct table *table, uint64_t key);
/* Next value, in no order: start with *place = 0, ends with NULL. The table must not be changed between. */
void *table_next(const struct table *table, size_t *place);
/* Calls drop (may be NULL) for each value and empties the table. */
void table_clear(struct table *table, void (*drop)(void *value));

/* calloc that ends the program with status 2 and a line on stderr when there is no memory. */
void *model_alloc(size_t size);

#endif
