/* Bytes in the place of those that a trace does not have. */
#include <string.h>

#include "decoder/replay/payload.h"

/* xorshift64*: what comes out is no secret and need not be good, only the same for the same tag. */
static uint64_t next(uint64_t *state)
{
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545f4914f6cdd1dull;
}

static void fill(uint64_t *state, uint8_t *to, size_t length)
{
  size_t at = 0;
  for (; at + 8 <= length; at += 8) {
    uint64_t word = next(state);
    memcpy(to + at, &word, 8);
  }
  uint64_t word = next(state);
  memcpy(to + at, &word, length - at);
}

/* Tag and length of a DER value that fills `length` bytes; returns their size, 0 when no value has that length. */
static size_t der_head(uint8_t tag, size_t length, uint8_t *to)
{
  if (length < 2) return 0;
  to[0] = tag;
  if (length < 130) {
    to[1] = (uint8_t)(length - 2);
    return 2;
  }
  for (unsigned bytes = 1; bytes <= 4; bytes++) {
    size_t content = length - 2 - bytes;
    if (length < 2 + bytes || (bytes < 4 && content >> (8 * bytes) != 0)) continue;
    to[1] = (uint8_t)(0x80 | bytes);
    for (unsigned i = 0; i < bytes; i++) to[2 + i] = (uint8_t)(content >> (8 * (bytes - 1 - i)));
    return 2 + bytes;
  }
  return 0;
}

/* PKCS #1 (RFC 8017, 9.2, note 1): what is signed with CKM_RSA_PKCS is a DigestInfo, and some tokens look at it. */
static const struct {
  uint8_t digest, size, head[19];
} digest_infos[] = {
    {16, 18, {0x30, 0x20, 0x30, 0x0c, 6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5, 5, 0, 4, 16}},
    {20, 15, {0x30, 0x21, 0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0, 4, 20}                     },
    {28, 19, {0x30, 0x2d, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4, 5, 0, 4, 28}   },
    {32, 19, {0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32}   },
    {48, 19, {0x30, 0x41, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2, 5, 0, 4, 48}   },
    {64, 19, {0x30, 0x51, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 64}   }
};

static void der(uint64_t *state, uint8_t *to, size_t length)
{
  for (size_t i = 0; i < sizeof digest_infos / sizeof digest_infos[0]; i++) {
    if (length != (size_t)digest_infos[i].digest + digest_infos[i].size) continue;
    memcpy(to, digest_infos[i].head, digest_infos[i].size);
    fill(state, to + digest_infos[i].size, digest_infos[i].digest);
    return;
  }
  /* An OCTET STRING in a SEQUENCE, where one fits. */
  size_t outer = der_head(0x30, length, to);
  size_t inner = outer == 0 ? 0 : der_head(0x04, length - outer, to + outer);
  fill(state, to + outer + inner, length - outer - inner);
}

void stand_in(const struct value *value, uint8_t *to)
{
  size_t length = (size_t)value->length;
  uint64_t state = (value->form == P11T_V_TAG ? value->number : value->length) | 1;
  unsigned shape = value->form == P11T_V_TAG ? value->shape : 0;
  if (length == 0) return;
  if (shape & P11T_SHAPE_ZERO) {
    memset(to, 0, length);
  } else if (shape & P11T_SHAPE_SAME) {
    memset(to, shape & P11T_SHAPE_TEXT ? 'a' + (int)(next(&state) >> 32) % 26 : 1 + (int)(next(&state) >> 33) % 255,
           length);
  } else if (shape & P11T_SHAPE_DER) {
    der(&state, to, length);
  } else {
    fill(&state, to, length);
    if (shape & P11T_SHAPE_TEXT) {
      for (size_t i = 0; i < length; i++) to[i] = (uint8_t)('a' + to[i] % 26);
    } else if (length > 1) {
      to[0] = 0;
    }
  }
}
