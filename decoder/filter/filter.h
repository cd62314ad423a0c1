/* Which calls: the one grammar of -e and --calls of every verb.
 *
 *   KEY=VALUE,VALUE,!VALUE...    one of the values without a !, and none with one; KEY!=... negates all of them
 *   KEY>VALUE  < >= <=           for duration and time
 *
 * fn        functions as shim/spec/callset.h reads them: C_Sign, C_Sign*, %session, %login, %3.0
 * rv        ok, failed, open (in flight at the end), unwound, CKR_..., a number
 * session, slot, object, module, pid, tid   a number, 0x... too; of a session call also the slot of its session
 * thread    name of the thread, * stands for any characters
 * mechanism CKM_... or a number; of C_Sign and the like the one that C_SignInit began with
 * class     CKO_... or a number: the CKA_CLASS in a template
 * label     a CKA_LABEL in a template, * stands for any characters
 * duration, time   with a unit: 10ms 2.5s 300us 80ns; time counts from the start of the trace
 *
 * probe, !probe   calls that the recorder made itself; those of the application
 *
 * Several expressions must all be true. */
#ifndef FILTER_FILTER_H
#define FILTER_FILTER_H

#include "decoder/filter/tracker.h"

struct filter;

struct filter_error {
  size_t at, length; /* characters of the expression that are wrong */
  char what[256];    /* what is wrong, and what is allowed */
};

/* A filter that everything passes. NULL without memory. */
struct filter *filter_new(void);
void filter_free(struct filter *filter);

/* One more expression, or one more set of call numbers ("10-200,300-,7"; several sets are one). False with *error. */
bool filter_add(struct filter *filter, const char *expression, struct filter_error *error);
bool filter_add_calls(struct filter *filter, const char *set, struct filter_error *error);

/* Prints "VERB: WHAT", the expression, and a mark under the wrong characters, on stderr. */
void filter_complain(const char *verb, const char *expression, const struct filter_error *error);

/* True when everything passes. */
bool filter_is_empty(const struct filter *filter);

/* True when an expression speaks of probes: a verb that leaves them out by itself then does what it says. */
bool filter_speaks_of_probes(const struct filter *filter);

/* Does this EVENT_CALL pass? Then, for each EVENT_CALL whether it passed or not, filter_see, which follows the sessions. */
bool filter_match(const struct filter *filter, const struct event *event);
void filter_see(struct filter *filter, const struct event *event);

/* Tells the filter where `time` counts from. */
void filter_origin(struct filter *filter, uint64_t ns);

/* `pattern` with * for any characters, also for none, against `size` bytes. */
bool filter_fits(const char *pattern, const char *text, size_t size);

/* What the filter knows of sessions, for verbs that want it too (always kept up to date, also when the filter is empty). */
const struct tracker *filter_tracker(const struct filter *filter);

#endif
