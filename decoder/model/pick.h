/* Picking what is needed out of a decoded call. Every function answers false or NULL when the record does not say. */
#ifndef MODEL_PICK_H
#define MODEL_PICK_H

#include <stdbool.h>
#include <stdint.h>

#include "decoder/read/trace.h"

/* Parameter `index` (from 0) as given: a number, handle or flags. */
bool pick_in(const struct call *call, unsigned index, uint64_t *number);
/* Parameter `index` as left: a number, handle or length. */
bool pick_out(const struct call *call, unsigned index, uint64_t *number);
/* First parameter of that kind (enum p11_kind), or -1. */
int pick_kind(const struct call *call, unsigned kind);

/* Is parameter `index` a NULL pointer? False also when it is not known. */
bool pick_is_null(const struct call *call, unsigned index);

/* Member at `offset` (offsetof) of the structure that parameter `index` holds after the call; NULL when the structure is
 * not `structure` or was not written. */
const struct value *pick_member(const struct call *call, unsigned index, unsigned structure, size_t offset);

/* Attribute `type` of a template; NULL when it is not there. */
const struct value *pick_attribute(const struct value *template, uint64_t type);
/* The same as a number (CK_ULONG or CK_BBOOL). */
bool pick_attribute_number(const struct value *template, uint64_t type, uint64_t *number);
/* Bytes of an attribute that are there in full; *length may be 0. NULL when they are not. */
const uint8_t *pick_bytes(const struct value *attribute, size_t *length);
/* Template of the call: as given for a search or a new object, as left for C_GetAttributeValue. NULL when none. */
const struct value *pick_template(const struct call *call);

/* A hash of bytes, fast and not against who wants them equal; never 0, so that 0 can mean unknown. */
uint64_t pick_hash(const void *bytes, size_t length);

/* Did the call return rv? */
static inline bool call_returned(const struct call *call, uint64_t rv)
{
  return call->state == CALL_DONE && call->rv == rv;
}

#endif
