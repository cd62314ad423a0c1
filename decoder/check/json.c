#include "decoder/check/json.h"

#include <string.h>

#include "decoder/rules/rules.h"

json_t *check_json_text(const char *text)
{
  char shown[1200];
  json_t *j = json_string(text);
  return j ? j : json_string(show_bytes((const uint8_t *)text, strlen(text), shown, sizeof shown));
}

bool check_json_write(FILE *to, json_t *json)
{
  const bool good = json && json_dumpf(json, to, JSON_INDENT(2) | JSON_SORT_KEYS) == 0 && fputc('\n', to) != EOF;
  json_decref(json);
  return good;
}
