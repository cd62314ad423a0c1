/* Traces shown while they are recorded. */
#ifndef FOLLOW_FOLLOW_H
#define FOLLOW_FOLLOW_H

#include "decoder/show/dump.h"

struct follow_options {
  struct dump_options dump;
  bool wait;   /* for more processes when all have ended */
  bool status; /* tell the logins where stderr is no terminal, or with dump.quiet, too */
};

/* Shows what `paths` record, files from their beginning, of a folder those that are recorded now or later. Ends when all their
 * processes have ended, at SIGINT, or when the output is closed. An exit status of cmd.h. */
int follow_paths(const char *const *paths, size_t count, const struct follow_options *options, int fd);

#endif
