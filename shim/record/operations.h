/* Which operations of a session a call begins and ends: what decides whether a probe may go near it. */
#ifndef RECORD_OPERATIONS_H
#define RECORD_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/spec/spec.h"

/* Operations are the bits that C_SessionCancel has for them (CKF_SIGN, CKF_FIND_OBJECTS ...), and two of our own. */
#define P11T_OPERATION_CONTEXT (1u << 31) /* a context login that has not been used */
#define P11T_OPERATION_SOME (1u << 30)    /* came with C_SetOperationState */

/* Those that use a private key. A card may forget a context login, or its key, when it is asked anything in between. */
#define P11T_OPERATION_KEY                                                                                       \
  (CKF_SIGN | CKF_SIGN_RECOVER | CKF_DECRYPT | CKF_MESSAGE_SIGN | CKF_MESSAGE_DECRYPT | P11T_OPERATION_CONTEXT | \
   P11T_OPERATION_SOME)

/* What is to be taken for begun from before the call on. */
unsigned p11t_operation_begins(unsigned function, const uint64_t *v);

/* What is active after it, of `active`, in which `begun` is what this call began. When in doubt, it still is. */
unsigned p11t_operation_after(unsigned function, const uint64_t *v, uint64_t rv, unsigned active, unsigned begun);

#endif
