/* HEAD and END of a trace that is made of another one. */
#ifndef WRITE_ENDS_H
#define WRITE_ENDS_H

#include "decoder/read/reader.h"
#include "decoder/write/out.h"

/* A field of HEAD that is to be another. */
enum { HEAD_UNKNOWN = 0 }; /* as a tag: all fields that this program does not know */
struct head_change {
  uint16_t tag;
  const void *bytes; /* NULL: the field goes */
  size_t size;
};

/* HEAD of `r`'s process with `compatible` bits added (and those of `without` taken away), fields changed as told. Place in a
 * rotation and the live file's path, which no longer hold, go. */
void ends_head(struct reader *r, struct out *out, uint64_t compatible, uint64_t without,
               const struct head_change *change, size_t changes);

/* The SCHEMA frame as the trace has it. */
void ends_schema(struct reader *r, struct out *out);

/* The largest number of a record. */
uint64_t ends_last_number(const struct reader *r);

/* END and the seek table. */
void ends_end(struct reader *r, struct out *out);

/* Trace ids of derived traces: new ones, the same for the same `old` id within this run. A parent's id becomes the new one
 * if the parent is in the set. */
void ends_id(const uint8_t old[16], uint8_t id[16]);

/* HEAD of a derived trace: DERIVED, a new id, the new id of a parent, `how` ("trim --calls 1-9"), and `before`, what r's own
 * HEAD says of how it was derived. More changes may follow. */
void ends_derived(struct reader *r, struct out *out, const char *how, const char *before, uint64_t without,
                  const struct head_change *more, size_t count);

#endif
