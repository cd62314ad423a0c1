/* probe=: read-only calls of the recorder's own beside the application's, so that a trace shows what the application does not
 * ask. They are made before and after its calls, never inside; each is an ordinary record with P11T_PROBE. */
#ifndef RECORD_PROBE_H
#define RECORD_PROBE_H

#include "shim/record/encode.h"

/* Around every call of the application while a probe is on, with `frame` the wrapper's. Both keep errno. */
void p11t_probe_before(struct p11t_call *call, const uint64_t *v, void *frame);
void p11t_probe_after(const struct p11t_call *call, const uint64_t *v, CK_RV rv);

#endif
