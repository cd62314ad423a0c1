/* Memory of a call. What the module writes lies in an area of its own, each buffer with a canary behind it and an unmapped page
 * behind all: one byte too many is seen, thousands of them reach nothing of ours. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "decoder/replay/live_part.h"

enum { AREA = 1 << 20, SMALL = 1 << 16, NOWHERE = 1 << 16 };

struct live_area {
  uint8_t *base; /* AREA bytes of buffers, SMALL bytes, NOWHERE bytes that cannot be touched */
  size_t used;
};

static const uint8_t canary[LIVE_CANARY] = {
    0xa7, 0x1c, 0x5e, 0xc3, 0x92, 0x6b, 0xf4, 0x38, 0xd5, 0x0e, 0x7f, 0xb1, 0x49, 0xe6, 0x23, 0x8d,
    0x5a, 0xc7, 0x14, 0x9f, 0x61, 0xb8, 0x2d, 0xf2, 0x86, 0x3b, 0xda, 0x47, 0xec, 0x70, 0x95, 0x1e,
    0xb3, 0x68, 0x0d, 0xd1, 0x7a, 0xa4, 0x5f, 0xc9, 0x32, 0xe7, 0x8b, 0x16, 0x9d, 0x43, 0xfe, 0x60,
    0x2a, 0xb5, 0x51, 0xcc, 0x07, 0x98, 0xed, 0x74, 0xdf, 0x3e, 0x81, 0x5b, 0xa6, 0x19, 0xc4, 0x7d};

static _Noreturn void no_memory(void)
{
  fputs("p11trace: out of memory\n", stderr);
  exit(2);
}

static struct live_area *area_of(struct live *live)
{
  if (live->area != NULL) return live->area;
  struct live_area *area = read_zalloc(sizeof *area);
  void *base = mmap(NULL, AREA + SMALL + NOWHERE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) no_memory();
  area->base = base;
  if (mprotect(area->base + AREA + SMALL, NOWHERE, PROT_NONE) != 0) no_memory();
  return live->area = area;
}

void live_begin(struct live *live)
{
  arena_reset(&live->memory);
  live->piece = NULL;
  if (live->area != NULL) live->area->used = 0;
}

static struct live_piece *add_piece(struct live *live, uint8_t *at, size_t size)
{
  struct live_piece *piece = arena_alloc(&live->memory, sizeof *piece);
  piece->at = at;
  piece->size = size;
  piece->next = live->piece;
  return live->piece = piece;
}

void *live_room(struct live *live, size_t size, const char *name, uint64_t attribute)
{
  struct live_area *area = area_of(live);
  size_t whole = (size + LIVE_CANARY + 15) & ~(size_t)15;
  uint8_t *at;
  if (whole <= AREA - area->used) {
    at = area->base + area->used;
    area->used += whole;
    memset(at, 0, size);
  } else {
    at = arena_alloc(&live->memory, whole);
  }
  memcpy(at + size, canary, LIVE_CANARY);
  struct live_piece *piece = add_piece(live, at, size);
  piece->name = name;
  piece->attribute = attribute;
  piece->guarded = true;
  return at;
}

size_t live_overrun(const struct live_piece *piece)
{
  const uint8_t *behind = piece->at + piece->size;
  if (memcmp(behind, canary, LIVE_CANARY) == 0) return 0;
  size_t n = LIVE_CANARY;
  while (behind[n - 1] == canary[n - 1]) n--;
  return n;
}

void live_secret(struct live *live, void *at, size_t size)
{
  if (size > 0) add_piece(live, at, size)->secret = true;
}

void live_wipe(struct live *live)
{
  for (struct live_piece *piece = live->piece; piece != NULL; piece = piece->next) {
    if (piece->secret) explicit_bzero(piece->at, piece->size);
  }
}

void *live_small(struct live *live)
{
  return area_of(live)->base + AREA;
}

void *live_nowhere(struct live *live)
{
  return area_of(live)->base + AREA + SMALL + 64;
}

void live_abandon(struct live *live)
{
  live->memory = (struct arena){0};
  live->area = NULL;
  live->piece = NULL;
}

void live_free(struct live *live)
{
  live_wipe(live);
  arena_free(&live->memory);
  if (live->area != NULL) munmap(live->area->base, AREA + SMALL + NOWHERE);
  free(live->area);
  live->area = NULL;
  live->piece = NULL;
}

const char *live_cannot(struct live *live, const char *format, ...)
{
  char text[400];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  size_t length = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
  return arena_text(&live->memory, text, length);
}
