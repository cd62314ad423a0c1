/* JSON of what check, state and objects say. */
#ifndef CHECK_JSON_H
#define CHECK_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Outside text: as it is, or as show_bytes() shows it when it is no UTF-8. */
json_t *check_json_text(const char *text);
/* Writes it, keys sorted so that two runs compare, and frees it. False when it cannot be written or is NULL. */
bool check_json_write(FILE *to, json_t *json);

#endif
