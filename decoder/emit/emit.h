/* p11trace emit-c: recorded calls as a C program that makes them on any module, for a report to its maker.
 *
 *   needs.c         which calls: the chosen ones, and what they cannot do without
 *   emit.c          three passes over the trace: what is needed, what comes out and goes in again, the text
 *   emit_call.c     one call
 *   emit_value.c    values, templates, buffers
 *   emit_struct.c   mechanisms and structures
 *   emit_program.c  what stands before and behind the calls */
#ifndef EMIT_EMIT_H
#define EMIT_EMIT_H

#include "decoder/filter/filter.h"
#include "decoder/read/trace.h"

struct emit_options {
  const char *const *path;
  size_t paths;
  const char *module_of; /* part of the path of the module whose calls are wanted; NULL: of the only one */
  struct filter *filter;
  int fd; /* where the program goes */
};

/* Exit status: 0, or 2 with a line on stderr. */
int emit_c(const struct emit_options *options);

#endif
