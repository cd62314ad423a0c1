/* Memory for arguments: each piece at an address that is the same in all runs, with an unmapped page behind it. */
#ifndef ARENA_H
#define ARENA_H

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "p11client.h"

#define ARG_BASE 0x500000000000ul /* free in plain and in AddressSanitizer's address space */
#define ARG_SIZE 8192ul           /* of each argument's memory, the unmapped page not counted */
#define ARG_STEP (ARG_SIZE + 4096)
#define ARG_PLACES 32ul

static void args_map(void)
{
  for (uintptr_t i = 0; i < ARG_PLACES; i++) {
    void *at = (void *)(ARG_BASE + i * ARG_STEP);
    void *got = mmap(at, ARG_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != at) DIE("mmap at %p: %s", at, strerror(errno));
  }
}

/* `size` bytes at the very end of the memory of parameter i. */
static uintptr_t arg_place(int i, size_t size)
{
  return ARG_BASE + (uintptr_t)i * ARG_STEP + ARG_SIZE - size;
}

static uint64_t arg_checksum(int i)
{
  const unsigned char *p = (const unsigned char *)(ARG_BASE + (uintptr_t)i * ARG_STEP);
  uint64_t hash = 0xcbf29ce484222325ull;
  for (size_t k = 0; k < ARG_SIZE; k++) hash = (hash ^ p[k]) * 0x100000001b3ull;
  return hash;
}

#endif
