/* The components of an RSA private key: checked against each other, and those that are missing computed. */
#ifndef TOK_RSA_PARTS_H
#define TOK_RSA_PARTS_H

#include "object/attrs.h"

/* Needs CKA_MODULUS and either both primes and one exponent, or CKA_PRIVATE_EXPONENT and, unless it is one of the usual
 * ones, CKA_PUBLIC_EXPONENT; sets all eight components, without leading zeros. CKR_TEMPLATE_INCOMPLETE,
 * CKR_ATTRIBUTE_VALUE_INVALID (a number that cannot be one of a key), CKR_TEMPLATE_INCONSISTENT (they contradict each
 * other). A key with a wrong CRT component would give the primes away with its first signature. */
CK_RV tok_rsa_parts_complete(struct tok_attrs *attrs);

#endif
