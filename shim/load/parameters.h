/* Parameters that reach C_Initialize in the member after flags: modutil -string "p11trace:module=/usr/lib/x.so rest". NSS
 * calls the member LibraryParameters, the standard pReserved; other programs put anything there. */
#ifndef LOAD_PARAMETERS_H
#define LOAD_PARAMETERS_H

#include <limits.h> /* PATH_MAX */
#include <stdbool.h>

#include "shim/spec/pkcs11.h"

struct p11t_parameters {
  CK_NSS_C_INITIALIZE_ARGS copy; /* seven members: a module that knows NSS reads the last when the sixth is set */
  char rest[4096];               /* what was not ours, for the module */
  char module[PATH_MAX];         /* p11trace:module=, "" when not given */
};

/* True when the text is there, can be read and begins with "p11trace:": then `own` is what the module gets, and with
 * `apply_options` our words are applied as options. False, having touched nothing, otherwise. */
bool p11t_parameters_cut(const void *pInitArgs, struct p11t_parameters *own, bool apply_options);

/* Says that no target is known, and what to do; CKR_ARGUMENTS_BAD. */
CK_RV p11t_parameters_missing(void);

/* The list of a target that is not known yet: 2.40, every entry a wrapper of set `number`. */
CK_FUNCTION_LIST_PTR p11t_lazy_list(unsigned number);

#endif
