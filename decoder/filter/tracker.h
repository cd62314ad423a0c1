/* What a session call does not say of itself: the slot of its session, and the mechanism of the operation it goes on with.
 *
 * Follows C_OpenSession, C_CloseSession, C_CloseAllSessions, C_Finalize and the ...Init functions of each module of each
 * process. Memory is bounded by the sessions that are open. */
#ifndef FILTER_TRACKER_H
#define FILTER_TRACKER_H

#include "decoder/read/trace.h"

#define TRACKER_UNKNOWN UINT64_MAX

struct tracker;

/* NULL without memory. */
struct tracker *tracker_new(void);
void tracker_free(struct tracker *tracker);

/* Session handle among the parameters, or the one that C_OpenSession returned; false when there is none. */
bool tracker_session(const struct call *call, uint64_t *session);
/* Slot that the call names or that its session belongs to; TRACKER_UNKNOWN when it cannot be known. */
uint64_t tracker_slot(const struct tracker *tracker, const struct process *process, const struct call *call);
/* Mechanism that the call names, or of the operation that it continues; TRACKER_UNKNOWN when none. */
uint64_t tracker_mechanism(const struct tracker *tracker, const struct process *process, const struct call *call);

/* Takes note of a call that is over (EVENT_CALL); to be called for each, in order, after the questions about it. */
void tracker_see(struct tracker *tracker, const struct process *process, const struct call *call);

#endif
