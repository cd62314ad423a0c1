/* A set of attributes: what an object is made of, in memory and on disk.
 *
 * Sorted by type, each type once. Values are copies; memory that held any is wiped before it is freed, because a set
 * does not know which of its values are secret. CK_BBOOL is one byte, CK_ULONG eight (little-endian on disk). Values
 * that are templates or lists of mechanisms (CKA_WRAP_TEMPLATE, CKA_ALLOWED_MECHANISMS ...) are kept in the form of
 * tok_attrs_write, or as an array of CK_MECHANISM_TYPE. */
#ifndef TOK_ATTRS_H
#define TOK_ATTRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

struct tok_attr {
  CK_ATTRIBUTE_TYPE type;
  CK_ULONG len;   /* bytes */
  CK_BYTE *value; /* `small` or heap; never NULL */
  CK_BYTE small[8];
};

struct tok_attrs {
  size_t count, room;
  struct tok_attr *list;
};

#define TOK_ATTRS_EMPTY \
  {                     \
    0, 0, NULL          \
  }

/* The value and its length in bytes; NULL if the set does not have the type. An empty value is not NULL. */
const CK_BYTE *tok_attrs_get(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, CK_ULONG *len);
static inline bool tok_attrs_has(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  return tok_attrs_get(attrs, type, NULL) != NULL;
}
/* The value as a boolean or a number; `otherwise` if it is missing or has another size. */
bool tok_attrs_bool(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, bool otherwise);
CK_ULONG tok_attrs_ulong(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, CK_ULONG otherwise);
/* True if the set has the type with exactly these bytes. */
bool tok_attrs_equal(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len);

/* Set a value (copied; `value` may be inside the same set), replacing an older one. CKR_OK or CKR_HOST_MEMORY. */
CK_RV tok_attrs_set(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len);
CK_RV tok_attrs_set_bool(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, bool value);
CK_RV tok_attrs_set_ulong(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
void tok_attrs_remove(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type);

/* `to` becomes a copy of `from`; it was empty. CKR_HOST_MEMORY leaves it empty. */
CK_RV tok_attrs_copy(struct tok_attrs *to, const struct tok_attrs *from);
/* Wipes and frees; the set is empty afterwards. */
void tok_attrs_clear(struct tok_attrs *attrs);

/* Bytes for the disk, of those attributes that `which` accepts (NULL: all): for each, type (u64), length (u32),
 * value, all little-endian. *out is the caller's, to be freed with tok_wipe_free. CKR_OK or CKR_HOST_MEMORY. */
CK_RV tok_attrs_write(const struct tok_attrs *attrs, bool (*which)(const struct tok_attrs *, CK_ATTRIBUTE_TYPE),
                      CK_BYTE **out, size_t *len);
/* Adds what tok_attrs_write wrote. CKR_DEVICE_ERROR if the bytes are not that, CKR_HOST_MEMORY; the set is unchanged
 * then except for attributes already added. */
CK_RV tok_attrs_read(struct tok_attrs *attrs, const CK_BYTE *data, size_t len);

#endif
