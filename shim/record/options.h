/* What the user asked for: P11TRACE_* in the environment, else the .conf file beside the library, else NSS parameters. */
#ifndef RECORD_OPTIONS_H
#define RECORD_OPTIONS_H

#include <limits.h> /* PATH_MAX */
#include <stdbool.h>
#include <stdint.h>

#include "shim/spec/triggers.h"

/* Of those above SAFE the bytes of values are kept, sealed or in clear. */
enum p11t_capture { P11T_CAPTURE_META, P11T_CAPTURE_SAFE, P11T_CAPTURE_FULL, P11T_CAPTURE_CLEAR };
#define P11T_CUT_DEFAULT (1u << 20)
#define P11T_FILES_DEFAULT 4
#define P11T_DUMP_EVERY_DEFAULT 10000000000ull

enum p11t_stack_mode { P11T_STACK_OFF, P11T_STACK_CALLER, P11T_STACK_ERROR, P11T_STACK_FIRST, P11T_STACK_ALL };

/* The words of probe= as bits, by their place. */
enum p11t_probe {
  P11T_PROBE_OFF = 1,
  P11T_PROBE_STATE = 2,   /* PR1: other sessions' state after a login or logout */
  P11T_PROBE_FIND = 4,    /* PR2: one more object after a short answer, before the end of a search */
  P11T_PROBE_REMOVAL = 8, /* PR3: sessions' state after a token came or went */
  P11T_PROBE_OBJECT = 16, /* PR4: a new object's class through another session */
  P11T_PROBE_OPEN = 32,   /* PR5: a new session's state */
  P11T_PROBE_NOTIFY = 64, /* callbacks, which is no call: the module gets a Notify of ours */
  P11T_PROBE_ALL = 128    /* the five calls */
};
#define P11T_PROBE_CALLS (P11T_PROBE_STATE | P11T_PROBE_FIND | P11T_PROBE_REMOVAL | P11T_PROBE_OBJECT | P11T_PROBE_OPEN)

struct p11t_options {
  char out[PATH_MAX];  /* pattern or folder; "" for the default */
  char live[PATH_MAX]; /* folder for the live file, "" to choose */
  enum p11t_capture capture;
  enum p11t_stack_mode stack;
  uint64_t cut;        /* largest value kept in full, bytes */
  uint64_t min_free;   /* bytes that must stay free; UINT64_MAX: 5 % or 1 GiB, whichever is less */
  uint64_t only[2];    /* bit per function: recorded */
  uint64_t plain[2];   /* bit per function: recorded, and there is nothing to do but that */
  unsigned probe;      /* enum p11t_probe, without OFF and ALL */
  uint64_t max;        /* bytes of one file, 0: any number */
  unsigned files;      /* files or dumps that are kept */
  uint64_t ring;       /* bytes of the flight recorder, 0: none */
  uint64_t dump_every; /* ns */
  struct p11_triggers dump_on;
  bool cmdline; /* keep the arguments of the program */
  bool off;     /* pass everything through */
};

extern struct p11t_options p11t_options;

/* Sets one option by its public name (README, "Options"). False, after one line to stderr that names `where`, when name or
 * value is not known; the option keeps its value then. `module` and `recorder` are not handled here. */
bool p11t_option_set(const char *name, const char *value, const char *where);

/* Applies P11TRACE_<NAME> for every option; ignored in set-id programs (secure_getenv). Once. */
void p11t_options_from_environment(void);

#endif
