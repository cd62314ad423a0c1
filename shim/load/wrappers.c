/* The typed wrappers: ENTER, the module, LEAVE. 104 functions times 32 sets, all from functions.def. */
/* clang-format off: tables and the macros around them are laid out by hand */
#include "shim/load/sets.h"
#include "shim/record/call.h"

#define P11T_SET 0
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 1
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 2
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 3
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 4
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 5
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 6
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 7
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 8
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 9
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 10
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 11
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 12
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 13
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 14
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 15
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 16
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 17
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 18
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 19
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 20
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 21
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 22
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 23
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 24
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 25
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 26
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 27
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 28
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 29
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 30
#include "shim/load/set.inc"
#undef P11T_SET
#define P11T_SET 31
#include "shim/load/set.inc"
#undef P11T_SET

const p11t_any_function p11t_wrappers[P11T_SETS][P11_FUNCTIONS] = {
#define P11T_SET 0
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 1
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 2
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 3
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 4
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 5
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 6
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 7
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 8
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 9
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 10
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 11
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 12
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 13
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 14
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 15
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 16
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 17
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 18
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 19
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 20
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 21
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 22
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 23
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 24
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 25
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 26
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 27
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 28
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 29
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 30
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
#define P11T_SET 31
    {
#include "shim/load/set_table.inc"
    },
#undef P11T_SET
};
