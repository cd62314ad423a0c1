/* The arguments of C_Initialize. */
#ifndef TOK_INIT_ARGS_H
#define TOK_INIT_ARGS_H

#include "pkcs11.h"

/* Checks CK_C_INITIALIZE_ARGS (NULL is allowed) and takes the parameter string out, if NSS has put one into the sixth
 * member; *parameters is the caller's (free), or NULL. CKR_ARGUMENTS_BAD, CKR_CANT_LOCK, CKR_HOST_MEMORY. */
CK_RV tok_init_args(const void *args, char **parameters);

#endif
