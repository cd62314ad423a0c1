/* What is looked for at the end of records when something is (p11t_process.aside): triggers of the flight recorder, and
 * records that are written at once. */
#ifndef RECORD_TRIGGER_H
#define RECORD_TRIGGER_H

#include <stdbool.h>

#include "shim/record/encode.h"
#include "shim/record/process.h"

/* Recording begins: sets p11t_process.aside and the signal handler. */
void p11t_trigger_start(void);

/* After the commit of ENTER and of LEAVE, with the time in its record. The recorder's own calls (P11T_PROBE in `flags`) are no
 * trigger. */
void p11t_aside_enter(struct p11t_thread *t, struct p11t_call *call, uint64_t now);
void p11t_aside_leave(struct p11t_thread *t, const struct p11t_call *call, CK_RV rv, uint64_t now, uint8_t flags);

/* A signal came and no call since. */
bool p11t_trigger_pending(void);

#endif
