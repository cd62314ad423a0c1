#include "decoder/show/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_EXACT (1ull << 53) /* beyond, readers that keep numbers as doubles lose digits */

static void must(int status)
{
  if (status == 0) return;
  fputs("p11trace: out of memory\n", stderr);
  exit(2);
}

void json_put(json_t *object, const char *key, json_t *value)
{
  must(json_object_set_new_nocheck(object, key, value));
}

void json_add(json_t *array, json_t *value)
{
  must(json_array_append_new(array, value));
}

json_t *json_number(uint64_t value)
{
  return value < LARGEST_EXACT ? json_integer((json_int_t)value) : json_address(value);
}

json_t *json_address(uint64_t value)
{
  return json_sprintf("0x%" PRIx64, value);
}

json_t *json_version(uint64_t version)
{
  return json_sprintf("%u.%u", (unsigned)(version >> 8 & 255), (unsigned)(version & 255));
}

/* Where a string is put together; its memory is kept for the next one. */
static struct text *scratch(void)
{
  static struct text text;
  if (text.base == NULL) text_open(&text, -1);
  text.at = text.base;
  return &text;
}

static json_t *made(const struct text *text)
{
  return json_utf8(text->base, (size_t)(text->at - text->base));
}

json_t *json_hex(const void *bytes, size_t size)
{
  struct text *hex = scratch();
  text_hex(hex, bytes, size);
  return made(hex);
}

json_t *json_utf8(const void *bytes, size_t size)
{
  return json_stringn(size > 0 ? bytes : "", size);
}

static json_t *replaced(const uint8_t *bytes, size_t size)
{
  struct text *text = scratch();
  uint32_t code;
  for (size_t n; size > 0; bytes += n, size -= n) {
    n = text_character(bytes, size, &code);
    if (n > 0) {
      text_raw(text, (const char *)bytes, n);
    } else {
      text_s(text, "\xef\xbf\xbd"); /* U+FFFD */
      n = 1;
    }
  }
  return made(text);
}

void json_outside(json_t *object, const char *key, const void *bytes, size_t size)
{
  if (bytes == NULL) return;
  json_t *text = json_utf8(bytes, size);
  if (text != NULL) {
    json_put(object, key, text);
    return;
  }
  char key_hex[64];
  snprintf(key_hex, sizeof key_hex, "%s_hex", key);
  json_put(object, key, replaced(bytes, size));
  json_put(object, key_hex, json_hex(bytes, size));
}

void json_text(json_t *object, const char *key, const char *text)
{
  if (text != NULL) json_outside(object, key, text, strlen(text));
}

json_t *json_flag_names(unsigned domain, uint64_t value)
{
  json_t *names = json_array();
  uint64_t rest = value;
  for (uint64_t left = value; left != 0; left &= left - 1) {
    uint64_t bit = left & (~left + 1);
    const char *name = p11_constant_name(domain, bit);
    if (name == NULL) continue;
    json_add(names, json_string(name));
    rest &= ~bit;
  }
  if (rest != 0) json_add(names, json_address(rest));
  return names;
}

static int take(const char *data, size_t size, void *out)
{
  for (const char *delete; (delete = memchr(data, 0x7f, size)) != NULL;) {
    const size_t before = (size_t)(delete - data);
    text_raw(out, data, before);
    text_s(out, JSON_DELETE);
    data += before + 1;
    size -= before + 1;
  }
  text_raw(out, data, size);
  return 0;
}

void json_line(struct text *out, json_t *object)
{
  must(json_dump_callback(object, take, out, JSON_COMPACT | JSON_ENSURE_ASCII));
  text_c(out, '\n');
  json_decref(object);
}
