/* What others wrote, made fit to print: labels, paths, names of threads may hold anything. */
#include "decoder/show/text.h"

size_t text_character(const uint8_t *bytes, size_t size, uint32_t *code)
{
  if (size == 0) return 0;
  uint8_t first = bytes[0];
  if (first < 0x80) {
    *code = first;
    return 1;
  }
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || length > size) return 0;
  uint32_t c = first & (0x7fu >> length);
  for (size_t i = 1; i < length; i++) {
    if ((bytes[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (bytes[i] & 0x3fu);
  }
  if ((length == 3 && c < 0x800) || (length == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000)) {
    return 0;
  }
  *code = c;
  return length;
}

bool text_is_harmful(uint32_t c)
{
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
         (c >= 0xe0000 && c <= 0xe0fff);
}

static void put_escape(struct text *text, uint32_t c)
{
  static const char digit[] = "0123456789abcdef";
  switch (c) {
    case '\n': text_s(text, "\\n"); return;
    case '\r': text_s(text, "\\r"); return;
    case '\t': text_s(text, "\\t"); return;
    default: break;
  }
  if (c < 0x80) {
    text_s(text, "\\x");
    text_c(text, digit[c >> 4]);
    text_c(text, digit[c & 15]);
    return;
  }
  text_s(text, "\\u{");
  unsigned shift = 20;
  while (shift > 0 && (c >> shift) == 0) shift -= 4;
  for (;; shift -= 4) {
    text_c(text, digit[(c >> shift) & 15]);
    if (shift == 0) break;
  }
  text_c(text, '}');
}

void text_escaped(struct text *text, const void *bytes, size_t size, const char *also)
{
  static const char digit[] = "0123456789abcdef";
  const uint8_t *p = bytes, *end = p + size;
  while (p < end) {
    uint32_t c;
    size_t n = text_character(p, (size_t)(end - p), &c);
    if (n == 0) {
      text_s(text, "\\x");
      text_c(text, digit[*p >> 4]);
      text_c(text, digit[*p & 15]);
      p++;
      continue;
    }
    if (c == '\\') {
      text_s(text, "\\\\");
    } else if (text_is_harmful(c)) {
      put_escape(text, c);
    } else if (c < 0x80 && strchr(also, (int)c) != NULL) {
      text_c(text, '\\');
      text_c(text, (char)c);
    } else {
      text_raw(text, (const char *)p, n);
    }
    p += n;
  }
}

void text_quoted(struct text *text, const void *bytes, size_t size)
{
  text_c(text, '"');
  text_escaped(text, bytes, size, "\"");
  text_c(text, '"');
}
