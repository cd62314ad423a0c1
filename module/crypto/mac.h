/* What HMAC and CMAC share: message authentication codes by EVP_MAC. */
#ifndef TOK_MAC_H
#define TOK_MAC_H

#include <openssl/types.h>

#include "crypto/op.h"

/* Begins an operation with a MAC of `full` bytes, or of as many as the parameter says if the mechanism is a _GENERAL
 * one. `make` returns a context with the key of op->key in it; it is called when none is parked with the key.
 * CKR_MECHANISM_PARAM_INVALID, and what `make` returns. */
CK_RV tok_mac_start(struct tok_op *op, CK_MECHANISM_PTR mechanism, CK_ULONG full,
                    CK_RV (*make)(struct tok_op *op, EVP_MAC_CTX **context));

#endif
