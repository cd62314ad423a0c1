/* Arenas; see arena.h. */
#include "decoder/read/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CHUNK = 2048, LARGEST_CHUNK = 1 << 20, KEPT_CHUNK = 1 << 16, ALIGN = 16 };

struct arena_chunk {
  struct arena_chunk *next;
  size_t size;
  _Alignas(ALIGN) char bytes[];
};

static _Noreturn void no_memory(void)
{
  fputs("p11trace: out of memory\n", stderr);
  exit(2);
}

void *read_zalloc(size_t size)
{
  void *p = calloc(1, size == 0 ? 1 : size);
  if (p == NULL) no_memory();
  return p;
}

void *read_realloc(void *p, size_t size)
{
  p = realloc(p, size == 0 ? 1 : size);
  if (p == NULL) no_memory();
  return p;
}

char *read_strdup(const char *text)
{
  char *p = strdup(text);
  if (p == NULL) no_memory();
  return p;
}

char *read_vasprintf(const char *format, va_list args)
{
  char *text;
  if (vasprintf(&text, format, args) < 0) no_memory();
  return text;
}

static void new_chunk(struct arena *arena, size_t size)
{
  size_t room = arena->current == NULL ? FIRST_CHUNK : arena->current->size * 2;
  if (room > LARGEST_CHUNK) room = LARGEST_CHUNK;
  if (room < size) room = size;
  struct arena_chunk *chunk = malloc(sizeof *chunk + room);
  if (chunk == NULL) no_memory();
  chunk->next = NULL;
  chunk->size = room;
  if (arena->current == NULL) {
    arena->first = chunk;
  } else {
    arena->current->next = chunk;
  }
  arena->current = chunk;
  arena->at = chunk->bytes;
  arena->end = chunk->bytes + room;
}

void *arena_alloc(struct arena *arena, size_t size)
{
  size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  if (arena->at == NULL || size > (size_t)(arena->end - arena->at)) new_chunk(arena, size);
  void *p = arena->at;
  arena->at += size;
  return memset(p, 0, size);
}

char *arena_text(struct arena *arena, const void *bytes, size_t length)
{
  char *text = arena_alloc(arena, length + 1);
  if (length > 0) memcpy(text, bytes, length);
  return text;
}

static void free_after(struct arena_chunk *chunk)
{
  while (chunk != NULL) {
    struct arena_chunk *next = chunk->next;
    free(chunk);
    chunk = next;
  }
}

void arena_free(struct arena *arena)
{
  free_after(arena->first);
  *arena = (struct arena){0};
}

void arena_reset(struct arena *arena)
{
  struct arena_chunk *first = arena->first;
  if (first == NULL) return;
  if (first->size > KEPT_CHUNK) {
    arena_free(arena);
    return;
  }
  if (first->next != NULL) {
    free_after(first->next);
    first->next = NULL;
    arena->current = first;
  }
  arena->at = first->bytes;
  arena->end = first->bytes + first->size;
}
