/* Wrapper sets: 32 copies of the 104 wrappers, each bound to the functions of one module (or of one of its function lists,
 * where two lists of a module have different functions). Made by macro from functions.def. */
#ifndef LOAD_SETS_H
#define LOAD_SETS_H

#include <stdint.h>

#include "shim/spec/spec.h"

#define P11T_SETS 32

typedef void (*p11t_any_function)(void); /* of whatever type: called through its own type only */

struct p11t_set {
  unsigned module; /* id, and above bit 16 the number of the set; 0: not recorded */
  struct p11t_target *owner;
  p11t_any_function target[P11_FUNCTIONS]; /* what the wrapper calls: the module's function, or one of ours before it */
  p11t_any_function real[P11_FUNCTIONS];   /* the module's function; NULL: it has none */
};

extern struct p11t_set p11t_sets[P11T_SETS];

/* The wrapper of a function in a set. */
extern const p11t_any_function p11t_wrappers[P11T_SETS][P11_FUNCTIONS];

/* What stands between wrapper and module for the functions that hand out lists, take our parameters or, with probe=notify, a
 * callback: by set. */
extern const p11t_any_function p11t_thunks[P11T_SETS][5];
enum {
  P11T_THUNK_INITIALIZE,
  P11T_THUNK_FUNCTION_LIST,
  P11T_THUNK_INTERFACE_LIST,
  P11T_THUNK_INTERFACE,
  P11T_THUNK_OPEN_SESSION
};

#endif
