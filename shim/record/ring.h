/* The flight recorder (setting ring=): the last records of a process stay in the slots of the live file, uncompressed, and go
 * nowhere until a trigger asks for them. */
#ifndef RECORD_RING_H
#define RECORD_RING_H

#include <stdbool.h>

#include "shim/record/process.h"

/* The thread's slot is full: it is sealed, and the thread goes on in the one whose last record is the oldest. Under the lock. */
void p11t_ring_turn(struct p11t_thread *t);

/* A slot for a thread whose own was taken after its last owner had ended. Under the lock. */
bool p11t_ring_take(struct p11t_thread *t);

/* Writes all slots as one file. `trigger` says why, in words. Not more often than dump-every=. Takes the lock; keeps errno. */
void p11t_ring_dump(const char *trigger);

/* The process ends: only the dumps are kept, and a last one if that was asked for. Under the lock. */
void p11t_ring_finish(const char *reason);

#endif
