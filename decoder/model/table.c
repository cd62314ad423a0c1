#include "decoder/model/table.h"

#include <stdio.h>
#include <stdlib.h>

void *model_alloc(size_t size)
{
  void *p = calloc(1, size);
  if (!p) {
    fprintf(stderr, "p11trace: out of memory (%zu bytes)\n", size);
    exit(2);
  }
  return p;
}

/* Handles are small numbers or heap addresses: both need their low bits mixed. */
static size_t home(const struct table *table, uint64_t key)
{
  key ^= key >> 32;
  key *= 0x9e3779b97f4a7c15ull;
  return (size_t)(key >> 32) & (table->room - 1);
}

static size_t find(const struct table *table, uint64_t key)
{
  size_t i = home(table, key);
  while (table->entry[i].value && table->entry[i].key != key) i = (i + 1) & (table->room - 1);
  return i;
}

void *table_get(const struct table *table, uint64_t key)
{
  return table->room ? table->entry[find(table, key)].value : NULL;
}

static void grow(struct table *table)
{
  const struct table old = *table;
  table->room = old.room ? old.room * 2 : 16;
  table->entry = model_alloc(table->room * sizeof *table->entry);
  for (size_t i = 0; i < old.room; i++)
    if (old.entry[i].value) table->entry[find(table, old.entry[i].key)] = old.entry[i];
  free(old.entry);
}

void *table_put(struct table *table, uint64_t key, void *value)
{
  if (table->count * 4 >= table->room * 3) grow(table);
  const size_t i = find(table, key);
  void *old = table->entry[i].value;
  table->entry[i] = (struct table_entry){key, value};
  if (!old) table->count++;
  return old;
}

void *table_take(struct table *table, uint64_t key)
{
  if (!table->room) return NULL;
  size_t hole = find(table, key);
  void *value = table->entry[hole].value;
  if (!value) return NULL;
  table->count--;
  /* Close the hole: move back every later entry of the run whose home is not after the hole. */
  const size_t mask = table->room - 1;
  for (size_t i = (hole + 1) & mask; table->entry[i].value; i = (i + 1) & mask) {
    const size_t h = home(table, table->entry[i].key);
    if (((i - h) & mask) >= ((i - hole) & mask)) {
      table->entry[hole] = table->entry[i];
      hole = i;
    }
  }
  table->entry[hole] = (struct table_entry){0, NULL};
  return value;
}

void *table_next(const struct table *table, size_t *place)
{
  while (*place < table->room) {
    void *value = table->entry[(*place)++].value;
    if (value) return value;
  }
  return NULL;
}

void table_clear(struct table *table, void (*drop)(void *value))
{
  size_t place = 0;
  for (void *value; drop && (value = table_next(table, &place));) drop(value);
  free(table->entry);
  *table = (struct table){0};
}
