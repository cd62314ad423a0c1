/* Checking the arguments of any function by its description in functions.def. */
#ifndef TOK_ARGUMENTS_H
#define TOK_ARGUMENTS_H

#include <stdint.h>

#include "spec.h"

/* CKR_OK, or the code for the first argument that nobody can work with: a pointer that must not be NULL (CKR_ARGUMENTS_BAD),
 * a buffer with a length but no address, a length beyond all sense. `a` are the arguments in order, as numbers. */
CK_RV tok_check_arguments(enum p11_function function, const uintptr_t *a);

#endif
