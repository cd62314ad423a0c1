/* The typed wrappers: ENTER, the module, LEAVE. 104 functions times 32 sets, all from functions.def. */
#include "shim/load/sets.h"
#include "shim/record/call.h"

#define P11T_SET_FILE "shim/load/set.inc"
#include "shim/load/each_set.inc"

const p11t_any_function p11t_wrappers[P11T_SETS][P11_FUNCTIONS] = {
#define P11T_SET_FILE "shim/load/set_table.inc"
#include "shim/load/each_set.inc"
};
