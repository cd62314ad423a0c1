/* One self-contained page of HTML that shows traces: life lines of the logins, findings and their evidence, calls.
 *
 *   report.c   what is read when: the findings first, then the calls, of which it is then known what they prove
 *   rows.c     calls to rows: the same call again is folded, what is more than fits is left out and counted
 *   same.c     which calls are the same, and which always stay
 *   lanes.c    sessions; bands of presence and login, from decoder/state
 *   latency.c  durations by function
 *   data.c     all of it as JSON
 *   page.c     the page around the JSON; page_blob.c carries the files of page/ */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decoder/symbols/symbols.h"

struct report_options {
  const char *const *trace;
  size_t traces;
  const char *output;  /* "-": standard output */
  const char *profile; /* as of check */
  size_t size;         /* bytes that the page may take */
  bool quiet;          /* no line about it on standard output */
  struct symbols_options symbols;
};

/* Reads the traces twice and writes the page. Returns an exit status of cmd.h: 2 when bytes of a trace are lost (after
 * writing the rest) or it could not be done, which is said on stderr. */
int report_write(const struct report_options *options);

#endif
