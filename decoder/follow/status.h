/* The line below the calls that follow shows: how much was recorded, and the login of each slot. */
#ifndef FOLLOW_STATUS_H
#define FOLLOW_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "decoder/read/trace.h"

struct status;

/* On stderr: at a terminal one line that is written again, else, if `asked`, a line for each change of a login.  NULL when
 * there is nothing to show, which all below take. */
struct status *status_new(bool quiet, bool asked);
/* Takes an event in.  True when a line is due at once: call status_line() when the call itself is shown. */
bool status_event(struct status *status, const struct event *event);
void status_line(struct status *status);
/* A terminal's line: out of the way of what comes, and there again. */
void status_hide(struct status *status);
void status_show(struct status *status, uint64_t now, size_t running);
/* The logins stay on the screen as the last line. */
void status_end(struct status *status, size_t running);

#endif
