/* Secret keys: which lengths they may have. */
#ifndef TOK_SECRET_H
#define TOK_SECRET_H

#include <stdbool.h>

#include "object/attrs.h"
#include "pkcs11.h"

/* True if a secret key of that type may have `len` bytes. False for every length if it is no type of secret keys. */
bool tok_secret_size_ok(CK_KEY_TYPE type, CK_ULONG len);
/* The length of a type that has only one, else 0. */
CK_ULONG tok_secret_fixed_size(CK_KEY_TYPE type);
/* The length in bytes of a key that is to be made from a template (CKA_KEY_TYPE, CKA_VALUE_LEN):
 *   CKR_TEMPLATE_INCOMPLETE       no key type, or no CKA_VALUE_LEN and the type does not tell
 *   CKR_TEMPLATE_INCONSISTENT     CKA_VALUE_LEN contradicts the type, or it is no type of secret keys
 *   CKR_ATTRIBUTE_VALUE_INVALID   no key of the type has that length */
CK_RV tok_secret_length(const struct tok_attrs *key, CK_ULONG *len);
/* Sets CKA_VALUE (copied). CKA_VALUE_LEN was what the template asked for: tok_material_complete sets it for those types that
 * have it. */
CK_RV tok_secret_put(struct tok_attrs *key, const CK_BYTE *value, CK_ULONG len);

#endif
