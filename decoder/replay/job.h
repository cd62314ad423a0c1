/* A trace in a process of its own: the module that is tried may crash, hang or end its process, and that is a result. */
#ifndef REPLAY_JOB_H
#define REPLAY_JOB_H

#include <sys/types.h>

#include "decoder/replay/results.h"

/* One recorded process, to be replayed. */
struct job {
  const char **paths; /* its files, or the arguments when it lies in a packed one */
  size_t count;
  unsigned index; /* of the process in those */
  bool piped;     /* one of `paths` is - */
  bool sealed;    /* it has values that only --key opens, and none was given */
  char *trace;    /* the file that names it */
  char *program;
  uint32_t pid;
  char *chosen;            /* path of the module whose calls are replayed */
  uint64_t calls;          /* of that module */
  uint64_t unknown;        /* of these, of functions that this p11trace does not know */
  char unknown_name[64];   /* the first of them */
  uint64_t begun, ended;   /* ns since 1970: first and last record */
  char lost[400];          /* what of the trace is lost, in words; "" nothing */
  char refused[400];       /* why it cannot be replayed at all; "" it can */
  struct results *results; /* NULL before it has begun */
  enum { JOB_WAITS, JOB_RUNS, JOB_OVER } state;
  char broke[300];      /* the module crashed, hung, or ended its process; "" it did not */
  uint64_t broke_call;  /* number of the call that did */
  bool interrupted;     /* the user stopped it */
  uint64_t nanoseconds; /* that it took */
};

struct jobs {
  struct job *job;
  size_t count;
  size_t passed_over; /* processes without a call of the module */
  size_t overlapping; /* processes that ran while another one did */
  bool failed;        /* said on stderr */
};

/* replay_survey.c: reads the traces, chooses the module of each process, and makes a job of each process that has calls of
 * it, in order of their start. False with lines on stderr when there is nothing to replay. */
bool jobs_survey(struct jobs *jobs, const char *const *paths, size_t count, const struct replay_options *options);

/* choose.c: a module of the recorded process, by path. */
struct candidate {
  char *path;
  uint64_t calls, unknown;
  char unknown_name[64];
};
/* Which of them: the only one; else what `recorded` is part of; else the one of NEW's file name; else the only one that is
 * neither softoken nor p11-kit. -1: none of them, -2: it is open. */
int choose(const struct candidate *candidate, size_t count, const struct replay_options *options);
/* Is it a module that stands beside the one that a trace is about: softoken, NSS's built-in certificates, p11-kit? */
bool choose_beside(const char *path);

/* job.c: replays all of them, `at_once` side by side. */
void jobs_run(struct jobs *jobs, const struct replay_options *options, unsigned at_once);
void jobs_free(struct jobs *jobs);

/* try.c: can the library be loaded, and is it a PKCS #11 module? Asked in a process of its own. False with a line on stderr. */
bool try_module(const char *path);

#endif
