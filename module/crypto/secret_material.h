/* The value of a secret key: its length, its parity, its check value. */
#ifndef TOK_SECRET_MATERIAL_H
#define TOK_SECRET_MATERIAL_H

#include <stdbool.h>

#include "object/attrs.h"

/* As tok_material_complete, for CKO_SECRET_KEY. */
CK_RV tok_secret_complete(struct tok_attrs *attrs);

/* Lengths in bytes of keys that are made: min, min + step ... max. False if it is no type of secret keys. */
struct tok_secret_range {
  CK_ULONG min, max, step;
};
bool tok_secret_range(CK_KEY_TYPE type, struct tok_secret_range *range);

#endif
