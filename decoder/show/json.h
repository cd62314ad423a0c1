/* The JSON of JSON.md, built of jansson's objects: one for each line, freed when it is printed. Keys stand in the order in
 * which they are put. All of these end the program when there is no memory. */
#ifndef SHOW_JSON_H
#define SHOW_JSON_H

#include <jansson.h>

#include "decoder/show/text.h"
#include "decoder/show/value.h"

/* Both take over `value`. */
void json_put(json_t *object, const char *key, json_t *value);
void json_add(json_t *array, json_t *value);

/* A CK_ULONG: integer below 2^53, else "0x...". */
json_t *json_number(uint64_t value);
/* "0x..." always: addresses. */
json_t *json_address(uint64_t value);
json_t *json_hex(const void *bytes, size_t size);
/* "2.40" */
json_t *json_version(uint64_t version);
/* ["CKF_A","0x100"] */
json_t *json_flag_names(unsigned domain, uint64_t value);
/* Bytes that may not be UTF-8: NULL when they are not. */
json_t *json_utf8(const void *bytes, size_t size);
/* Outside text, and KEY_hex when it is not UTF-8; nothing when it is NULL. */
void json_outside(json_t *object, const char *key, const void *bytes, size_t size);
void json_text(json_t *object, const char *key, const char *text);

/* Not for VALUE_NONE. */
json_t *json_value(const struct value *value, struct meaning meaning);
/* The same for what a call returned: NULL pointers of before the call are not repeated. */
json_t *json_after(const struct value *value, struct meaning meaning);

/* All JSON is ASCII: what moves the cursor or reverses text on a terminal is escaped with the rest. U+007F is the one control
 * character that jansson leaves; it can stand in strings only. */
#define JSON_DELETE "\\u007f"
/* Prints `object` on a line of its own and frees it. */
void json_line(struct text *out, json_t *object);

#endif
