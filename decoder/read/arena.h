/* Memory that is given back all at once: the values of one call, the texts of one process. */
#ifndef READ_ARENA_H
#define READ_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
  struct arena_chunk *first, *current;
  char *at, *end;
};

/* `size` bytes of zeros, aligned for any of our structures. Ends the program when the machine has no memory left. */
void *arena_alloc(struct arena *arena, size_t size);

/* A copy of `length` bytes with a NUL behind them. */
char *arena_text(struct arena *arena, const void *bytes, size_t length);

/* Forgets what was allocated; keeps one small chunk for the next use. */
void arena_reset(struct arena *arena);

void arena_free(struct arena *arena);

/* calloc, realloc, strdup and vasprintf that end the program with a line on stderr instead of answering NULL. */
void *read_zalloc(size_t size);
void *read_realloc(void *p, size_t size);
char *read_strdup(const char *text);
char *read_vasprintf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

#endif
