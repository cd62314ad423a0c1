/* What a wrapper calls before and after the module. */
#ifndef RECORD_CALL_H
#define RECORD_CALL_H

#include <stdint.h>

#include "shim/record/encode.h"

/* ENTER: records the call of `function` of `module` (its id; the wrapper set stands above bit 16) with the parameters v.
 * `caller` is the return address into the application, `frame` the wrapper's frame. Never fails: a call that cannot be
 * recorded leaves call->number 0. Keeps errno. */
void p11t_enter(struct p11t_call *call, unsigned function, unsigned module, const uint64_t *v, void *caller,
                void *frame);

/* LEAVE: records what came back. Returns rv as it is. */
CK_RV p11t_leave(struct p11t_call *call, const uint64_t *v, CK_RV rv);

/* The same two for a call that the recorder makes itself. The first says whether it is recorded: else it is not made. */
bool p11t_probe_enter(struct p11t_call *call, unsigned function, unsigned module, const uint64_t *v, void *frame);
void p11t_probe_leave(struct p11t_call *call, const uint64_t *v, CK_RV rv);

#endif
