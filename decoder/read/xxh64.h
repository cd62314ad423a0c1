/* XXH64, as FRAME-INFO uses it. */
#ifndef READ_XXH64_H
#define READ_XXH64_H

#include <stddef.h>
#include <stdint.h>

/* The hash of `length` bytes with seed 0. */
uint64_t xxh64(const void *bytes, size_t length);

#endif
