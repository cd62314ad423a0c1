#include "decoder/check/json.h"

#include <string.h>

#include "decoder/rules/rules.h"
#include "decoder/show/json.h"

json_t *check_json_text(const char *text)
{
  char shown[1200];
  json_t *j = json_string(text);
  return j ? j : json_string(show_bytes((const uint8_t *)text, strlen(text), shown, sizeof shown));
}

static int put(const char *data, size_t size, void *to)
{
  for (const char *const end = data + size; data < end; data++)
    if ((*data == 0x7f ? fputs(JSON_DELETE, to) : putc(*data, to)) == EOF) return -1;
  return 0;
}

bool check_json_write(FILE *to, json_t *json)
{
  const size_t flags = JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENSURE_ASCII;
  const bool good = json && json_dump_callback(json, put, to, flags) == 0 && fputc('\n', to) != EOF;
  json_decref(json);
  return good;
}
