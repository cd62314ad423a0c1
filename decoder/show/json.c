#include "decoder/show/json.h"

#define LARGEST_EXACT (1ull << 53) /* beyond, readers that keep numbers as doubles lose digits */

void json_number(struct text *out, uint64_t value)
{
  if (value < LARGEST_EXACT) {
    text_u(out, value);
  } else {
    json_address(out, value);
  }
}

void json_address(struct text *out, uint64_t value)
{
  text_c(out, '"');
  text_x(out, value);
  text_c(out, '"');
}

void json_time(struct text *out, uint64_t ns)
{
  if ((int64_t)ns < 0) {
    text_c(out, '-');
    ns = 0 - ns;
  }
  text_u(out, ns);
}

void json_hex(struct text *out, const uint8_t *bytes, size_t size)
{
  text_c(out, '"');
  text_hex(out, bytes, size);
  text_c(out, '"');
}

void json_outside(struct text *out, const char *key, const void *bytes, size_t size)
{
  if (bytes == NULL) return;
  text_s(out, ",\"");
  text_s(out, key);
  text_s(out, "\":");
  if (text_json(out, bytes, size)) return;
  text_s(out, ",\"");
  text_s(out, key);
  text_s(out, "_hex\":");
  json_hex(out, bytes, size);
}

void json_flag_names(struct text *out, unsigned domain, uint64_t value)
{
  uint64_t rest = value;
  bool any = false;
  text_c(out, '[');
  for (uint64_t left = value; left != 0; left &= left - 1) {
    uint64_t bit = left & (~left + 1);
    const char *name = p11_constant_name(domain, bit);
    if (name == NULL) continue;
    if (any) text_c(out, ',');
    text_c(out, '"');
    text_s(out, name);
    text_c(out, '"');
    any = true;
    rest &= ~bit;
  }
  if (rest != 0) {
    if (any) text_c(out, ',');
    json_address(out, rest);
  }
  text_c(out, ']');
}
