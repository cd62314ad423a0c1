/* Contexts of OpenSSL that have a key in them, kept with the key for the next operation of the same kind.
 *
 * Most of what a short message costs is making a context and expanding the key. So the family that has finished an
 * operation parks its context on the key object, and the next Init takes it. It lies there as long as the bytes of
 * the key do: the last reference to the object frees and wipes both. Each key has one place, so threads that use a
 * key at the same time make contexts of their own and the last one to finish parks his. */
#ifndef TOK_PARK_H
#define TOK_PARK_H

#include "core/sessions.h"

struct tok_object;
struct tok_mech;

/* The beginning of a family's state. */
struct tok_parked {
  const struct tok_mech *mech;
  enum tok_op_kind kind;
  void (*free)(struct tok_parked *parked);
};

/* What was parked by an operation of that mechanism and kind, now the caller's; NULL if there is none. */
struct tok_parked *tok_park_take(struct tok_object *key, const struct tok_mech *mech, enum tok_op_kind kind);
/* Gives a context to the key; whatever lay there before is freed. */
void tok_park(struct tok_object *key, struct tok_parked *parked);
/* For the last reference to the object: frees what is parked. */
void tok_park_clear(struct tok_object *key);

#endif
