/* Fixed-size text of the information structures. */
#ifndef TOK_TEXT_H
#define TOK_TEXT_H

#include <string.h>

#include "pkcs11.h"

/* Blank padded, cut if too long, never NUL terminated (PKCS #11 3.2, 5.5: CK_INFO and the like). */
static inline void tok_pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
  size_t len = strnlen(text, size);
  memset(field, ' ', size);
  memcpy(field, text, len);
}

#endif
