/* A private key on its way out of the token. */
#ifndef TOK_LEAVING_H
#define TOK_LEAVING_H

#include <openssl/types.h>
#include <stdbool.h>

#include "pkcs11.h"

struct tok_place;

/* An extractable private key as PKCS #8, through C_WrapKey, as every program may do it; NULL after an error message.
 * `name` is for messages. */
PKCS8_PRIV_KEY_INFO *tok_take_key(const struct tok_place *place, CK_OBJECT_HANDLE key, const char *name);

#endif
