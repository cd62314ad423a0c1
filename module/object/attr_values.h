/* Values of attributes on their way in and out: their forms, and attributes that are templates themselves. */
#ifndef TOK_ATTR_VALUES_H
#define TOK_ATTR_VALUES_H

#include "attrs.h"
#include "kinds.h"
#include "pkcs11.h"

/* Checks the form of a caller's attribute (a boolean is one byte, CK_TRUE or CK_FALSE; a number a CK_ULONG; a date
 * empty or eight digits ...) and sets a copy of it; a template is stored in the form of tok_attrs_write, because its
 * pointers are the caller's (PKCS #11 3.2, "Template attributes"). CKR_ATTRIBUTE_VALUE_INVALID, CKR_HOST_MEMORY. */
CK_RV tok_value_take(struct tok_attrs *attrs, const CK_ATTRIBUTE *from);

/* True if the attribute is a template. */
bool tok_value_is_template(CK_ATTRIBUTE_TYPE type);
/* Gives a stored value to the caller as C_GetAttributeValue does for one attribute: its length if pValue is NULL, a
 * copy if there is room, else CKR_BUFFER_TOO_SMALL and CK_UNAVAILABLE_INFORMATION as the length. In a template each
 * attribute is treated so again. CKR_DEVICE_ERROR if a stored template is damaged. */
CK_RV tok_value_give(CK_ATTRIBUTE_TYPE type, const CK_BYTE *value, CK_ULONG len, CK_ATTRIBUTE *to);

#endif
