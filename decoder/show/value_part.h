/* Between value_text.c and value_tree.c. */
#ifndef SHOW_VALUE_PART_H
#define SHOW_VALUE_PART_H

#include "decoder/show/value.h"

/* VALUE_BYTES. */
void value_bytes(const struct printer *p, const struct value *value, struct meaning meaning);
/* Length without the blanks at the end. */
size_t chars_length(const uint8_t *bytes, size_t size);

#endif
