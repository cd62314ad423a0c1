/* A recorded call in memory that outlives its event. */
#ifndef REPLAY_CALL_COPY_H
#define REPLAY_CALL_COPY_H

#include "decoder/read/arena.h"
#include "decoder/read/trace.h"

/* Copies all of the call but what belongs to the process (`info`). */
void call_copy(struct call *to, const struct call *from, struct arena *memory);
/* The same for one value. */
void value_copy(struct value *to, const struct value *from, struct arena *memory);

#endif
