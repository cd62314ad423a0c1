#include "decoder/check/text.h"

#include <stdio.h>

#include "decoder/rules/rules.h"
#include "decoder/show/text.h"

enum text_fault text_check(const uint8_t *bytes, size_t length, size_t *where)
{
  uint32_t code;
  for (size_t i = 0, n; i < length; i += n) {
    *where = i;
    if (!bytes[i]) return TEXT_NUL;
    if (bytes[i] < 0x20 || bytes[i] == 0x7f) return TEXT_CONTROL;
    n = text_character(bytes + i, length - i, &code);
    if (!n) return TEXT_NOT_UTF8;
  }
  return TEXT_GOOD;
}

const char *text_fault_name(enum text_fault fault)
{
  switch (fault) {
    case TEXT_NUL: return "a NUL";
    case TEXT_CONTROL: return "a control character";
    case TEXT_NOT_UTF8: return "bytes that are no UTF-8";
    default: return "nothing wrong";
  }
}

char *show_bytes(const uint8_t *bytes, size_t length, char *text, size_t size)
{
  size_t used = 0;
  for (size_t i = 0, n; i < length && used + 5 < size; i += n) {
    uint32_t c;
    n = text_character(bytes + i, length - i, &c);
    if (n && c != '"' && c != '\\' && !text_is_harmful(c)) {
      for (size_t k = 0; k < n; k++) text[used++] = (char)bytes[i + k];
    } else {
      n = 1;
      used += (size_t)snprintf(text + used, size - used, "\\x%02x", bytes[i]);
    }
  }
  text[used] = 0;
  return text;
}
