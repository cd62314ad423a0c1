/* Portraits from inside. */
#ifndef REPLAY_PORTRAIT_PART_H
#define REPLAY_PORTRAIT_PART_H

#include "decoder/model/table.h"
#include "decoder/read/arena.h"
#include "decoder/replay/portrait.h"

struct portrait_entry {
  struct portrait portrait;
  struct value *attribute; /* the same, to be written */
  size_t room;
  const void *session;           /* that made it, while the trace is read; not to be followed */
  struct portrait_entry *before; /* that had the handle before */
  struct portrait_entry *next;   /* in the order of their first call */
};

struct portraits {
  struct arena memory;
  struct table handles; /* handle -> its latest struct portrait_entry */
  struct table labels;  /* recorded slot -> label of its token, 32 characters */
  struct portrait_entry *first, *last;
};

/* Attribute `type`, in full; NULL when the trace does not have it so. */
const struct value *portrait_attribute(const struct portrait *portrait, uint64_t type);
/* The same as a number. */
bool portrait_number(const struct portrait *portrait, uint64_t type, uint64_t *number);
/* The same as bytes (not NULL, also when there are none). */
const uint8_t *portrait_bytes(const struct portrait *portrait, uint64_t type, size_t *length);
/* True length of the value, known in full or not; UINT64_MAX when it is not known. */
uint64_t portrait_length(const struct portrait *portrait, uint64_t type);

struct value portrait_copy(struct arena *arena, const struct value *v);

#endif
