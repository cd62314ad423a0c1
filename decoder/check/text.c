#include "decoder/check/text.h"

#include <stdio.h>

#include "decoder/rules/rules.h"
#include "decoder/show/text.h"

size_t text_utf8(const uint8_t *p, size_t left)
{
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (p[0] < 0x80) return 1;
  const size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc0 || p[0] > 0xf4 || n > left) return 0;
  uint32_t c = p[0] & (0xffu >> (n + 1));
  for (size_t i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (p[i] & 0x3f);
  }
  return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

enum text_fault text_check(const uint8_t *bytes, size_t length, size_t *where)
{
  for (size_t i = 0, n; i < length; i += n) {
    *where = i;
    if (!bytes[i]) return TEXT_NUL;
    if (bytes[i] < 0x20 || bytes[i] == 0x7f) return TEXT_CONTROL;
    n = text_utf8(bytes + i, length - i);
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
