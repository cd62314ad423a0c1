/* A stricter policy for traces that are there already. */
#ifndef WRITE_REDACT_H
#define WRITE_REDACT_H

#include "decoder/write/strict.h"

struct redact_options {
  const char *output;
  struct strict strict;
  const char *how; /* options, as HEAD of the new trace says them */
};

/* Writes the processes that `paths` name to options->output, a folder when there are several. An exit status of cmd.h. */
int redact_paths(const char *const *paths, size_t count, struct redact_options *options);

#endif
