/* What objects are found by: the attributes of each tag. */
#ifndef TOK_OBJECT_TAGS_H
#define TOK_OBJECT_TAGS_H

#include "kinds.h"
#include "object_pool.h"
#include "store/store.h"

/* The value that a tag is made of, if the set has it, it is not empty and may be found by (secret values may not):
 * the attribute's, or of two attributes the joined ones, in which case *joined is to be freed with tok_wipe_free.
 * NULL: none; *rv tells if that is for want of memory. `kind` may be NULL for a search template. */
const CK_BYTE *tok_tag_value(const struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_tag_kind tag,
                             CK_ULONG *len, CK_BYTE **joined, CK_RV *rv);
/* True if the tag is made of that attribute. */
bool tok_tag_covers(enum tok_tag_kind tag, CK_ATTRIBUTE_TYPE type);

/* A tag of the store: a hash of kind and value, keyed for private objects. CKR_USER_NOT_LOGGED_IN. */
CK_RV tok_tag_make(struct tok_slot *slot, bool private, enum tok_tag_kind kind, const CK_BYTE *value, CK_ULONG len,
                   struct tok_tag *tag);

/* The tag by which a search template is best looked up, or 0. */
enum tok_tag_kind tok_tag_best(const struct tok_attrs *wanted);

#endif
