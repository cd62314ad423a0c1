/* Between objects and rows of the token file.
 *
 * Of a private object everything but its class is sealed. Of another one the secret values are, if it is a private or
 * secret key; its open part is authenticated with them, so that nobody can make a key extractable with an editor. */
#ifndef TOK_OBJECT_ROWS_H
#define TOK_OBJECT_ROWS_H

#include "objects.h"
#include "store/store.h"

/* Fills in a row, to be freed with tok_row_clear, but for id and version. CKR_USER_NOT_LOGGED_IN if it has a sealed
 * part and there is no login. */
CK_RV tok_row_make(struct tok_slot *slot, const struct tok_attrs *attrs, struct tok_row *row);
/* The object of a row. Without a login a private one is CKR_OBJECT_HANDLE_INVALID and the secret part of another one is
 * left away (object->sealed). *opened: a login was needed or would be. CKR_DEVICE_ERROR if the row is not sound. */
CK_RV tok_row_read(struct tok_slot *slot, const struct tok_row *row, struct tok_object **object, bool *opened);

/* CKA_UNIQUE_ID as text of a row's uuid: 36 characters (RFC 9562). */
void tok_uuid_text(const uint8_t uuid[16], char text[37]);
bool tok_uuid_parse(const CK_BYTE *text, CK_ULONG len, uint8_t uuid[16]);

#endif
