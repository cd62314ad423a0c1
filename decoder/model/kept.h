/* What a rule remembers of a module, slot, session or object: kept with it, and gone with it.
 *
 *   static const struct kept_type counts = {sizeof(struct counts), NULL};
 *   struct counts *c = kept_make(&slot->kept, &counts);      // zeroed when it was not there
 *   c = kept_get(slot->kept, &counts);                       // NULL when it is not there
 */
#ifndef MODEL_KEPT_H
#define MODEL_KEPT_H

#include <stddef.h>

struct kept_type {
  size_t size;
  void (*clear)(void *state); /* frees what hangs on it; NULL: nothing does */
};

struct kept;

/* The state of that type (told apart by the address of `type`) in the list, or NULL. */
void *kept_get(struct kept *list, const struct kept_type *type);
/* The same, made and zeroed when it was not there. */
void *kept_make(struct kept **list, const struct kept_type *type);
void kept_drop(struct kept **list, const struct kept_type *type);
/* Drops all. */
void kept_clear(struct kept **list);

#endif
