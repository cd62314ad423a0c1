/* When the flight recorder writes what it holds: the text of dump-on=, in the words of the decoder's filters (filter.h).
 *
 *   ALTERNATIVE|ALTERNATIVE...     any of them; in one, separated by blanks, all must be true:
 *   rv=failed  rv=CKR_DEVICE_ERROR,0x101,!CKR_CANCEL   ok, failed, a name or a number
 *   fn=C_Login  fn=%login,!C_Logout                    functions as callset.h reads them
 *   duration>100ms                                     calls that take longer; slow=100ms says the same
 *   signal=USR2                                        USR1 or USR2, when the program does not use it itself; alone
 *   exit                                               the process ends in order; alone
 *
 * A colon does for the sign = . Tables and stack only: it is read inside somebody else's program. */
#ifndef P11_TRIGGERS_H
#define P11_TRIGGERS_H

#include <stdbool.h>

#include "callset.h"

enum { P11_TRIGGERS_MAX = 8, P11_TRIGGER_RVS = 16 };

struct p11_trigger {
  struct p11_callset functions; /* all, when nothing was said of them */
  struct {
    uint64_t value; /* or a word: */
    enum { P11_TRIGGER_RV, P11_TRIGGER_OK, P11_TRIGGER_FAILED } what;
    bool negative;
  } rv[P11_TRIGGER_RVS];
  unsigned rvs;
  uint64_t longer_than; /* ns; 0: however long */
};

struct p11_triggers {
  struct p11_trigger call[P11_TRIGGERS_MAX];
  unsigned calls;
  int signal; /* 0: none */
  bool exit, timed;
};

/* Reads the text; NULL, or what is allowed where it is wrong. */
const char *p11_triggers_parse(const char *text, struct p11_triggers *triggers);

/* Does a call that returned after `ns` match? */
bool p11_trigger_matches(const struct p11_trigger *trigger, unsigned function, uint64_t rv, uint64_t ns);

/* Name of a return code, or NULL. */
const char *p11_trigger_rv_name(uint64_t rv);

/* A time with its unit, such as 10s or 2500us, in ns; whole numbers only. */
bool p11_duration_parse(const char *text, size_t length, uint64_t *ns);

#endif
