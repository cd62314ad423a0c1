/* Records on their way into a frame, in the form that a slot of the live file has them (format.h, struct p11t_raw). */
#ifndef WRITE_RAW_H
#define WRITE_RAW_H

#include "decoder/read/reader.h"
#include "decoder/write/out.h"

struct raw {
  uint8_t *bytes;
  size_t size, room;
  uint32_t records;
  uint8_t *work, *content; /* for building */
  size_t content_room;
};

void raw_reset(struct raw *raw);
/* Appends a record, or a piece of one, as it is. */
void raw_add(struct raw *raw, const struct record *record);
/* Is there room for one more piece in a fill of the recorder's size? */
bool raw_fits(const struct raw *raw, size_t body);
/* Writes what there is as a frame of `info`'s slot and fill. False when it would be larger than a reader takes. */
bool raw_write(struct raw *raw, struct out *out, struct p11t_info info);
void raw_free(struct raw *raw);

#endif
