/* Sets of functions as text: "%session,!C_GetSlotInfo". One parser for the decoder's filters and the recorder's `only=`.
 * Tables and stack only: it may run inside somebody else's program. */
#ifndef P11_CALLSET_H
#define P11_CALLSET_H

#include "spec.h"

struct p11_callset {
  uint64_t word[(P11_FUNCTIONS + 63) / 64];
};

struct p11_callset_error {
  size_t at, length; /* which characters of the text */
  const char *what;  /* "no such function", ... */
};

/* Reads `length` characters of `text`: items separated by commas, each
 *   C_Sign      one function; * stands for any characters: C_Sign*, *Init
 *   %sign       a chapter of the standard: %general %slot %token %session %object %encrypt %decrypt %digest %sign %verify
 *               %dual %key %random %parallel %message %async
 *   %login      what it does: %static %poll %sessions %login %objects %find %operation %rng %event
 *   %3.0        the functions that came with this version: %2.40 %3.0 %3.2
 *   %all        every function
 *   !ITEM       without these
 * The set is what any item names (everything, when all have a !) without what an item with a ! names. Blanks around
 * items are ignored. False, with *error, for anything else, and for an empty text or item. */
bool p11_callset_parse(const char *text, size_t length, struct p11_callset *set, struct p11_callset_error *error);

static inline bool p11_callset_has(const struct p11_callset *set, int function)
{
  return function >= 0 && function < P11_FUNCTIONS && (set->word[function / 64] >> (function % 64) & 1) != 0;
}

#endif
