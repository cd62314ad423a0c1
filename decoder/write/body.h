/* Values to the bodies of ENTER and LEAVE: what decoder/read/value.c reads, the other way round (FORMAT.md, section 4). */
#ifndef WRITE_BODY_H
#define WRITE_BODY_H

#include "decoder/read/trace.h"
#include "decoder/write/put.h"

/* The parameters as given: call->arg[i].in as it is at EVENT_ENTER. Stops at the first one of which nothing is known
 * (VALUE_NONE): false, and the record is to be marked as cut. */
bool body_enter(struct put *p, const struct process *process, const struct call *call);

/* Return code, then the parameters as left: `out`, and `in` of those that are recorded after the call. `late[i]` tells which
 * values of the template in parameter i were deferred (bit n of byte n / 8); NULL none. Without ENTER it ends, as a reader
 * does, where it would have to know the pointers. */
void body_leave(struct put *p, const struct process *process, const struct call *call, const uint8_t *const late[10]);

/* One value with its form (V). */
void body_value(struct put *p, const struct process *process, const struct value *v);

#endif
