/* Contexts kept with their keys. */
#include "crypto/park.h"

#include <stdatomic.h>

#include "object/objects.h"

struct tok_parked *tok_park_take(struct tok_object *key, const struct tok_mech *mech, enum tok_op_kind kind)
{
  if (atomic_load_explicit(&key->parked, memory_order_relaxed) == NULL) return NULL;
  struct tok_parked *parked = atomic_exchange(&key->parked, NULL);
  if (parked == NULL || (parked->mech == mech && parked->kind == kind)) return parked;
  /* Another mechanism's: put it back, unless its place has been taken meanwhile. */
  struct tok_parked *empty = NULL;
  if (!atomic_compare_exchange_strong(&key->parked, &empty, parked)) parked->free(parked);
  return NULL;
}

void tok_park(struct tok_object *key, struct tok_parked *parked)
{
  struct tok_parked *old = atomic_exchange(&key->parked, parked);
  if (old != NULL) old->free(old);
}

void tok_park_clear(struct tok_object *key)
{
  struct tok_parked *old = atomic_exchange(&key->parked, NULL);
  if (old != NULL) old->free(old);
}
