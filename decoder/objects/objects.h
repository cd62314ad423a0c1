/* What NSS believes of the objects of each token: those that the trace shows, with what links them.
 *
 *   watch.c   what is remembered of slots and objects while the trace is read
 *   list.c    the list of a module when it is finalized, unloaded or its trace ends
 *   print.c   as text and JSON */
#ifndef OBJECTS_OBJECTS_H
#define OBJECTS_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "decoder/model/model.h"

/* Texts of one object that the model keeps as hashes only; owned, NULL not known. */
struct object_texts {
  char *label, *id, *subject; /* as shown: escaped text, hexadecimal digits, RFC 2253 */
};

/* Searches of one slot. */
struct slot_searches {
  uint64_t all, certificates, private_keys, public_keys;
  uint64_t found; /* handles returned */
};

/* Takes in a finished call; after model_apply(). */
void objects_watch(const struct event *event, const struct model_place *place);
const struct object_texts *objects_texts(const struct model_object *object);
const struct slot_searches *objects_searches(const struct model_slot *slot);

/* What links an object with others of its slot. */
struct object_belief {
  const struct model_object *certificate, *private_key, *public_key; /* with its CKA_ID; NULL none was seen */
  const char *words;                                                 /* what NSS makes of it */
};
struct object_belief objects_belief(const struct model_object *object);

/* Objects of a slot by class and handle, in memory that the caller frees; NULL and 0: none. */
const struct model_object **objects_of(const struct model_slot *slot, size_t *count);
/* Slots of a module by id, the same way. */
const struct model_slot **objects_slots(const struct model_module *module, size_t *count);

/* The objects of a slot are forgotten with its last session: keeps them as they are now, if there are any. Before model_apply()
 * of the call that closes it. */
void objects_keep(struct model_slot *slot);

/* Prints what is known of the module. */
void objects_print(FILE *to, const struct model_module *module);
/* Adds it to a JSON array (json_t *). */
void objects_add(void *array, const struct model_module *module);

#endif
