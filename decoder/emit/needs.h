/* Which calls a program needs so that the chosen ones do what they did: the session was opened, the key was found, the
 * operation was begun. One pass over the trace; what is kept is bounded by the sessions, objects and operations that are
 * there at one time, and by the calls that are needed. */
#ifndef EMIT_NEEDS_H
#define EMIT_NEEDS_H

#include "decoder/model/table.h"
#include "decoder/read/trace.h"

enum need_why { NEED_NOT, NEED_INCLUDED, NEED_CHOSEN };

/* Of one process and module. All zero but `included` is its beginning. */
struct needs {
  struct table *included; /* number of a call -> enum need_why; not owned */
  struct need *initialized, *listed;
  struct table sessions, objects, logins;
  struct need_tag *tag; /* what came out lately, by tag: a ring */
  size_t tags;
};

/* Takes in the next EVENT_CALL of the process and module. */
void needs_see(struct needs *needs, const struct call *call, bool chosen);
void needs_free(struct needs *needs);

#endif
