/* From the records of a slot to the content of an EVENTS frame (FORMAT.md, section 3). */
#ifndef TRACE_FRAME_H
#define TRACE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "shim/trace/format.h"

/* Bytes of work space that p11t_frame_build needs for records of at most P11T_SLOT_SIZE bytes. */
#define P11T_FRAME_WORK (3 * P11T_SLOT_SIZE)

/* Builds the content of one EVENTS (or TABLES) frame from `size` bytes of raw records, each as struct p11t_raw says; stops
 * at a commit word of 0 or one that does not fit. `info` gives kind, clock, slot, tid, generation, dropped and gets magic,
 * content, records, first_number, last_number and first_time; clock, that of the beginning, becomes that of first_time;
 * packed and hash stay 0. `out` has room for
 * 2 * P11T_SLOT_SIZE bytes. Returns the size of the content, 0 when there was no record. */
size_t p11t_frame_build(uint8_t *out, uint8_t *work, const uint8_t *records, size_t size, struct p11t_info *info);

/* Fills in hash of a complete FRAME-INFO. */
void p11t_info_seal(struct p11t_info *info);

#endif
