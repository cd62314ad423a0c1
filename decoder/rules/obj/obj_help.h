/* What the rules on objects share. */
#ifndef OBJ_HELP_H
#define OBJ_HELP_H

#include "decoder/model/search.h"
#include "decoder/rules/rules.h"

/* The handle that the call uses: of a call that refuses one, that one. */
bool obj_handle(const struct call *call, uint64_t *handle);
/* Does the call say that a handle of an object is not valid? */
bool obj_is_refusal(const struct call *call);

/* The answer of a C_GetAttributeValue whose attributes can be looked at, or NULL: before and after have the same length. */
const struct value *obj_answer(const struct call *call);

#endif
