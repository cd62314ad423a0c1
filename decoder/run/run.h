/* The room of `p11trace run`: a command is started with the recorder preloaded, waited for, and told about.
 *
 *   run.c          the command: environment, signals, how it ended
 *   run_place.c    where its traces go, which are new, and which nobody needs
 *   run_summary.c  what is said at the end
 *
 * Errors are said on stderr as "what: where: what to do". */
#ifndef RUN_H
#define RUN_H

#include <limits.h> /* PATH_MAX */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "decoder/rules/rules.h"

struct run_setting {
  const char *variable, *value; /* P11TRACE_NAME, as the recorder reads it */
};

struct run_request {
  char **command;       /* NULL-terminated */
  const char *out;      /* folder for the traces; NULL: a fresh one */
  const char *recorder; /* libp11trace.so; NULL: the one that belongs to this p11trace */
  const char *live;     /* the setting of that name, or NULL */
  const struct run_setting *settings;
  size_t n_settings;
  bool quiet;            /* no summary */
  enum severity fail_on; /* findings of that level or above make the exit status 1; 0: the command's own counts */
};

/* Runs the command and returns the exit status of p11trace: the command's, 128 and the signal's number when one killed it,
 * 126 or 127 when it could not be started. */
int run_command(const struct run_request *request);

/* --- inside the room ------------------------------------------------------------------------------------------------- */

/* The folder and what was in it before. */
struct run_place {
  char folder[PATH_MAX]; /* absolute */
  const char *live;      /* the setting */
  char **old;            /* names of traces, sorted */
  size_t olds;
};

/* 0, or -1 after an error was said. */
int run_place_open(struct run_place *place, const char *out, const char *command);

/* Paths of the traces that are new and not empty, NULL-terminated; *count of them. The caller frees list and paths. Files of
 * processes that made no call are removed, unless the process is still there. */
char **run_place_new(const struct run_place *place, size_t *count);

/* True while a process that has a new trace is there. */
bool run_place_busy(const struct run_place *place);

void run_place_close(struct run_place *place);

/* What is said on stderr, or only judged when quiet. `child` ended as `status` (of waitpid) says. Returns the most severe
 * finding's level, 0 none. */
enum severity run_summary(const struct run_place *place, char **path, size_t paths, pid_t child, int status,
                          bool quiet);

#endif
