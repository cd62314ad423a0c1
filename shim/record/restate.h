/* What a reader of one file must know and other files say: modules, lists, and whose each slot is. Written as
 * TABLES frames at the start of a file; a flight recorder has it in slots of its own, because all other ones are used again.
 * Under the lock. */
#ifndef RECORD_RESTATE_H
#define RECORD_RESTATE_H

#include <stdbool.h>

#include "shim/record/process.h"

/* Slots that a flight recorder has for it. */
#define P11T_RESTATE_PLACES 2

/* Writes TABLES frames. False when they could not be written. */
bool p11t_restate(void);

/* Flight recorder: brings the slots for it up to date, if anything changed. */
void p11t_restate_in_ring(void);

/* True when the records that are full are ours, not a thread's; then there is room again. */
bool p11t_restate_flush(struct p11t_thread *t);

#endif
