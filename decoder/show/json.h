/* The JSON of JSON.md, written as it comes: no tree, no allocation, order of keys as documented. */
#ifndef SHOW_JSON_H
#define SHOW_JSON_H

#include "decoder/show/text.h"
#include "decoder/show/value.h"

/* Keys are literals: "\"rv\":" with the comma that they need. */
#define JSON_KEY(out, key) text_raw(out, key, sizeof(key) - 1)

/* A CK_ULONG: integer below 2^53, else "0x...". */
void json_number(struct text *out, uint64_t value);
/* "0x..." always: addresses. */
void json_address(struct text *out, uint64_t value);
/* Nanoseconds with a sign. */
void json_time(struct text *out, uint64_t ns);
void json_hex(struct text *out, const uint8_t *bytes, size_t size);
/* ,"key":"text" and, when `bytes` are not UTF-8, ,"key_hex":"..."; nothing when `bytes` is NULL. */
void json_outside(struct text *out, const char *key, const void *bytes, size_t size);
/* ["CKF_A","0x100"] */
void json_flag_names(struct text *out, unsigned domain, uint64_t value);
/* A value; the caller has written its key. Not for VALUE_NONE. */
void json_value(struct text *out, const struct value *value, struct meaning meaning);
/* The same for what a call returned: NULL pointers of before the call are not repeated. */
void json_after(struct text *out, const struct value *value, struct meaning meaning);

#endif
