/* The numbers that RSA, DSA and DH keys are made of: where PKCS #11 has them and what OpenSSL calls them. */
#ifndef TOK_KEY_NUMBERS_H
#define TOK_KEY_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include "pkcs11.h"

struct tok_number {
  CK_ATTRIBUTE_TYPE type;
  const char *name;
};

struct tok_numbers {
  CK_KEY_TYPE type;
  const char *name; /* OpenSSL's of the key type */
  size_t count;     /* at most TOK_MAX_NUMBERS */
  size_t needed;    /* an RSA key without its primes has the first three */
  struct tok_number list[8];
};
#define TOK_MAX_NUMBERS 8

/* NULL: a key of another type. */
const struct tok_numbers *tok_key_numbers(CK_KEY_TYPE type, bool private);

#endif
