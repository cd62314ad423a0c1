/* The value of a secret key: its length, its parity, its check value. */
#ifndef TOK_SECRET_MATERIAL_H
#define TOK_SECRET_MATERIAL_H

#include "object/attrs.h"

/* As tok_material_complete, for CKO_SECRET_KEY. */
CK_RV tok_secret_complete(struct tok_attrs *attrs);

#endif
