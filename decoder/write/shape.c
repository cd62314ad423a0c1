#include "decoder/write/shape.h"

#include "shim/trace/format.h"

/* Bytes of the DER value that `b` begins with, its header included; 0 when there is none. */
static size_t der_size(const uint8_t *b, size_t size, size_t *header)
{
  if (size < 2) return 0;
  size_t length = b[1], n = 2;
  if (length >= 0x80) {
    const size_t digits = length & 0x7f;
    if (digits == 0 || digits > 4 || size < 2 + digits) return 0;
    for (length = 0; n < 2 + digits; n++) length = length << 8 | b[n];
  }
  *header = n;
  return length <= size - n ? n + length : 0;
}

uint8_t shape_of(const uint8_t *b, size_t size)
{
  uint8_t shape = P11T_SHAPE_SAME | P11T_SHAPE_TEXT;
  if (size == 0) return 0;
  for (size_t i = 0; i < size && shape != 0; i++) {
    if (b[i] != b[0]) shape &= (uint8_t)~P11T_SHAPE_SAME;
    if (b[i] < 0x20 || b[i] > 0x7e) shape &= (uint8_t)~P11T_SHAPE_TEXT;
  }
  if ((shape & P11T_SHAPE_SAME) != 0 && b[0] == 0) shape |= P11T_SHAPE_ZERO;
  size_t header;
  if (der_size(b, size, &header) == size) shape |= P11T_SHAPE_DER;
  return shape;
}

/* SEQUENCE { SEQUENCE of more than a key's algorithm, SEQUENCE, BIT STRING }, as the recorder tells them. */
bool shape_is_certificate(const uint8_t *b, size_t size)
{
  static const uint8_t tags[3] = {0x30, 0x30, 0x03};
  size_t header, at;
  if (size < 32 || b[0] != 0x30 || der_size(b, size, &header) != size) return false;
  at = header;
  for (int i = 0; i < 3; i++) {
    if (at >= size || b[at] != tags[i]) return false;
    const size_t n = der_size(b + at, size - at, &header);
    if (n == 0) return false;
    if (i == 0 && (n < 24 || (b[at + header] != 0xa0 && b[at + header] != 0x02 && b[at + header] != 0x30)))
      return false;
    at += n;
  }
  return at == size;
}
