/* Why is nothing traced? Looks at each link of the chain from the program to the trace, as the recorder would. */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include <limits.h> /* PATH_MAX */
#include <stdbool.h>

#include "shim/load/conf.h"

/* Examines the traced copy `library`; NULL: what a recorder without a .conf would do. Prints one line for each finding to
 * stdout, problems first. Returns an exit status of cmd.h: 1 when something is in the way, 2 when it could not look. */
int doctor_examine(const char *library, bool quiet);

/* --- inside the room ----------------------------------------------------------------------------------------------- */

struct doctor {
  const char *library; /* or NULL */
  bool has_conf;
  struct p11t_conf conf;
  char out[PATH_MAX];    /* pattern or folder; "" the default */
  const char *out_from;  /* where `out` was said, in words */
  char folder[PATH_MAX]; /* where traces go, as far as it does not depend on the program; "" unknown */
};

/* Findings. Each is one line; what comes from outside is escaped. `fix` may be NULL. */
void doctor_good(const char *what, const char *where, const char *form, ...) __attribute__((format(printf, 3, 4)));
void doctor_note(const char *what, const char *where, const char *form, ...) __attribute__((format(printf, 3, 4)));
/* form says what is wrong and, after a colon, what to do. */
void doctor_bad(const char *what, const char *where, const char *form, ...) __attribute__((format(printf, 3, 4)));
/* Prints and forgets them; returns the number of problems. */
unsigned doctor_print(bool quiet);

/* Value of a setting as the recorder takes it: P11TRACE_* over the .conf; *where says which. NULL: the default. */
const char *doctor_setting(const struct doctor *d, const char *name, const char **where);

void doctor_look_at_settings(struct doctor *d);
void doctor_look_at_recorder(struct doctor *d);
void doctor_look_at_module(struct doctor *d);
void doctor_look_at_output(struct doctor *d);
void doctor_look_at_traces(struct doctor *d);

/* Runs `look(argument, answer)` in a child process with a time limit, so that what it loads can do no harm; stdin, stdout
 * and stderr of the child are /dev/null. 0: answer is filled in; else a signal number, or -1 for a time-out or an exit. */
int doctor_in_child(void (*look)(const void *argument, void *answer), const void *argument, void *answer,
                    unsigned size);

#endif
