#include "shim/record/tag.h"

#include <string.h>

#include <sodium/crypto_shorthash_siphash24.h>

#include "shim/record/guard.h"
#include "shim/trace/format.h"

uint64_t p11t_tag(enum p11t_tag_domain domain, const uint8_t *bytes, size_t size)
{
  uint8_t text[8 + P11T_TAG_WHOLE];
  uint64_t length = size, tag;
  size_t n = size;
  memcpy(text, &length, 8);
  if (size <= P11T_TAG_WHOLE) {
    memcpy(text + 8, bytes, size);
  } else {
    n = P11T_TAG_WHOLE;
    memcpy(text + 8, bytes, n / 2);
    memcpy(text + 8 + n / 2, bytes + size - n / 2, n / 2);
  }
  crypto_shorthash_siphash24((unsigned char *)&tag, text, 8 + n, p11t_guard->key[domain]);
  explicit_bzero(text, 8 + n); /* it may have been a PIN */
  return tag;
}

/* Length of the header and content of the DER value at the start of `b`: a sum of at most `size`, or 0. */
static size_t der_length(const uint8_t *b, size_t size, size_t *header)
{
  if (size < 2) return 0;
  size_t length = b[1], h = 2;
  if (length >= 0x80) {
    size_t bytes = length & 0x7f;
    if (bytes == 0 || bytes > 4 || size < 2 + bytes) return 0;
    for (length = 0; h < 2 + bytes; h++) length = length << 8 | b[h];
  }
  *header = h;
  return length <= size - h ? h + length : 0;
}

static int all_same(const uint8_t *b, size_t size)
{
  return memcmp(b, b + 1, size - 1) == 0;
}

/* Printable ASCII, eight bytes at a time: none has its top bit, is below 0x20 or is 0x7f. */
static int all_text(const uint8_t *b, size_t size)
{
  const uint64_t ones = 0x0101010101010101u, tops = ones * 0x80;
  for (; size >= 8; size -= 8, b += 8) {
    uint64_t w, del;
    memcpy(&w, b, 8);
    del = w ^ ones * 0x7f;
    if ((w | ((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & tops) return 0;
  }
  for (; size > 0; size--, b++) {
    if (*b < 0x20 || *b > 0x7e) return 0;
  }
  return 1;
}

uint8_t p11t_shape(const uint8_t *b, size_t size)
{
  /* Of long values the middle is not looked at. */
  size_t part = size > P11T_TAG_WHOLE ? P11T_TAG_WHOLE / 2 : size, header;
  const uint8_t *last = b + size - part;
  uint8_t shape = 0;
  if (size == 0) return 0;
  if (all_same(b, part) && b[0] == last[0] && all_same(last, part))
    shape |= b[0] == 0 ? P11T_SHAPE_SAME | P11T_SHAPE_ZERO : P11T_SHAPE_SAME;
  if (all_text(b, part) && all_text(last, part)) shape |= P11T_SHAPE_TEXT;
  if (der_length(b, size, &header) == size) shape |= P11T_SHAPE_DER;
  return shape;
}

int p11t_is_certificate(const uint8_t *b, size_t size)
{
  static const uint8_t tags[3] = {0x30, 0x30, 0x03};
  size_t header, at;
  if (size < 32 || b[0] != 0x30 || der_length(b, size, &header) != size) return 0;
  at = header;
  for (int i = 0; i < 3; i++) {
    if (at >= size || b[at] != tags[i]) return 0;
    size_t n = der_length(b + at, size - at, &header);
    if (n == 0) return 0;
    /* A key in a SEQUENCE of this form is not one: to-be-signed parts hold a name and dates, so they begin with a version
     * [0], an INTEGER or an AlgorithmIdentifier, and are longer than any of those. */
    if (i == 0 && (n < 24 || (b[at + header] != 0xa0 && b[at + header] != 0x02 && b[at + header] != 0x30))) return 0;
    at += n;
  }
  return at == size;
}
