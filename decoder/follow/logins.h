/* The login of each slot while it is recorded: what the module last said of it, how often the PIN was asked for, and
 * whether an answer and what the calls allow have parted.  Unlike decoder/state it keeps one entry a slot, however long
 * the watch lasts. */
#ifndef FOLLOW_LOGINS_H
#define FOLLOW_LOGINS_H

#include <stdbool.h>

#include "decoder/read/trace.h"
#include "decoder/show/text.h"

struct logins;

struct logins *logins_new(void);
/* Takes one event in, the starts of calls too.  True when what logins_text() says has changed. */
bool logins_event(struct logins *logins, const struct event *event);
/* `"Card" logged in, 2 prompts; ! slot 3 logged out, 14 prompts`; nothing when no slot was asked for its login. */
void logins_text(const struct logins *logins, struct text *text);
void logins_free(struct logins *logins);

#endif
