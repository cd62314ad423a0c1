/* What the families that make key pairs share. */
#ifndef TOK_PAIR_H
#define TOK_PAIR_H

#include <openssl/types.h>
#include <stdbool.h>

#include "object/attrs.h"
#include "pkcs11.h"

/* Generates a key pair with a fresh context of OpenSSL (NULL is CKR_HOST_MEMORY), which takes `settings` (may be NULL), and
 * puts its components into both sets. CKR_FUNCTION_FAILED if OpenSSL refuses. The context stays the caller's. */
CK_RV tok_pair_generate(EVP_PKEY_CTX *context, const OSSL_PARAM *settings, struct tok_attrs *public_key,
                        struct tok_attrs *private_key);

/* Domain parameters CKA_PRIME, CKA_BASE and, for DSA, CKA_SUBPRIME as a key without a key, from which one is generated.
 * CKR_TEMPLATE_INCOMPLETE, CKR_ATTRIBUTE_VALUE_INVALID if the prime is not of min to max bits, CKR_DOMAIN_PARAMS_INVALID. */
CK_RV tok_pair_domain(const char *algorithm, const struct tok_attrs *attrs, bool subprime, CK_ULONG min, CK_ULONG max,
                      EVP_PKEY **domain);

#endif
