/* One new trace for each process of a set: what trim, merge and redact share. */
#ifndef WRITE_OUTPUTS_H
#define WRITE_OUTPUTS_H

#include "decoder/read/reader.h"
#include "decoder/write/out.h"

struct outputs {
  const char *verb;   /* "trim" */
  const char *output; /* a file; a folder when the set has several processes */
  void *user;
  /* Writes all of the process's new file. What cannot be read goes to the process's damage. */
  void (*write)(void *user, struct reader *r, struct out *out);
};

/* Are the traces such that a new one may be made of them? Not while one is recorded, and not when it has features that only
 * a newer program may change. Said on stderr. */
bool outputs_allowed(const char *verb, struct trace_set *set);

/* Writes them. Nothing is overwritten; when something goes wrong, or at Ctrl-C, what was written goes. Progress is shown on a
 * terminal. Exit status: EXIT_COULD_NOT too when bytes of a trace are lost, and then what could be read was written. */
int outputs_write(const struct outputs *o, struct trace_set *set);

/* Has the user stopped us? Asked by whoever works long; outputs_write (or outputs_stopped) then ends the program. */
bool outputs_stop(void);
/* Notices Ctrl-C, a terminal that goes and a request to end from now on instead of ending at once. */
void outputs_listen(void);
/* Ends the program as the signal would have, if there was one. */
void outputs_stopped(void);
/* Shows on a terminal how far the work is. `verb` lives on: "trim", or what it is about. */
void outputs_progress(const char *verb, uint64_t done, uint64_t total);
void outputs_progress_end(void);

/* The name of the process's new file in a folder: that of its first file, with a number before it if that is taken. */
void outputs_name(const struct trace_set *set, size_t process, char *name, size_t size);

#endif
