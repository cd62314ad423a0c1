/* Reading and writing DER. */
#include "crypto/der.h"

#include <stdint.h>
#include <string.h>

#include "core/module.h"

/* Tag and length at the front of `in`: the length of this header, 0 if it is none. */
static size_t header(const struct tok_der *in, size_t *length)
{
  if (in->left < 2) return 0;
  size_t first = in->at[1];
  if (first < 0x80) {
    *length = first;
    return 2;
  }
  size_t count = first & 0x7f, value = 0;
  if (count == 0 || count > 4 || in->left < 2 + count) return 0;
  for (size_t i = 0; i < count; i++) value = value << 8 | in->at[2 + i];
  if (value < 0x80 || value >> (8 * (count - 1)) == 0) return 0;
  *length = value;
  return 2 + count;
}

bool tok_der_any(struct tok_der *in, struct tok_der *whole)
{
  size_t length = 0, head = header(in, &length);
  if (head == 0 || length > in->left - head) return false;
  *whole = (struct tok_der){in->at, head + length};
  in->at += head + length;
  in->left -= head + length;
  return true;
}

bool tok_der_next(struct tok_der *in, unsigned tag, struct tok_der *content)
{
  size_t length = 0, head = header(in, &length);
  if (head == 0 || in->at[0] != tag || length > in->left - head) return false;
  *content = (struct tok_der){in->at + head, length};
  in->at += head + length;
  in->left -= head + length;
  return true;
}

bool tok_der_unsigned(struct tok_der *in, struct tok_der *value)
{
  struct tok_der after = *in;
  if (!tok_der_next(&after, TOK_DER_INTEGER, value) || value->left == 0 || (value->at[0] & 0x80) != 0) return false;
  while (value->left > 0 && value->at[0] == 0) {
    value->at++;
    value->left--;
  }
  *in = after;
  return true;
}

/* Room for `more` bytes. */
static bool grow(struct tok_der_out *out, size_t more)
{
  if (out->failed) return false;
  if (more <= out->room - out->len) return true;
  size_t room = out->room + more + 512;
  CK_BYTE *data = room > more ? tok_alloc(room) : NULL;
  if (data == NULL) {
    out->failed = true;
    return false;
  }
  if (out->len > 0) memcpy(data, out->data, out->len);
  tok_wipe_free(out->data, out->room);
  out->data = data;
  out->room = room;
  return true;
}

void tok_der_bytes(struct tok_der_out *out, const void *bytes, size_t len)
{
  if (len == 0 || !grow(out, len)) return;
  memcpy(out->data + out->len, bytes, len);
  out->len += len;
}

/* Tag and length for a content of `len` bytes; returns how many of the 6 bytes are used. */
static size_t make_header(CK_BYTE head[6], unsigned tag, size_t len)
{
  head[0] = (CK_BYTE)tag;
  if (len < 0x80) {
    head[1] = (CK_BYTE)len;
    return 2;
  }
  size_t count = 1;
  while (count < 4 && len >> (8 * count) != 0) count++;
  head[1] = (CK_BYTE)(0x80 | count);
  for (size_t i = 0; i < count; i++) head[2 + i] = (CK_BYTE)(len >> (8 * (count - 1 - i)));
  return 2 + count;
}

void tok_der_put(struct tok_der_out *out, unsigned tag, const void *content, size_t len)
{
  CK_BYTE head[6];
  tok_der_bytes(out, head, make_header(head, tag, len));
  tok_der_bytes(out, content, len);
}

void tok_der_put_unsigned(struct tok_der_out *out, const CK_BYTE *value, size_t len)
{
  while (len > 0 && value[0] == 0) {
    value++;
    len--;
  }
  size_t begin = tok_der_begin(out);
  if (len == 0 || (value[0] & 0x80) != 0) tok_der_bytes(out, "", 1);
  tok_der_bytes(out, value, len);
  tok_der_end(out, begin, TOK_DER_INTEGER);
}

size_t tok_der_begin(const struct tok_der_out *out)
{
  return out->len;
}

void tok_der_end(struct tok_der_out *out, size_t begin, unsigned tag)
{
  CK_BYTE head[6];
  if (out->failed) return;
  size_t used = make_header(head, tag, out->len - begin);
  if (!grow(out, used)) return;
  if (out->len > begin) memmove(out->data + begin + used, out->data + begin, out->len - begin);
  memcpy(out->data + begin, head, used);
  out->len += used;
}

CK_RV tok_der_finish(struct tok_der_out *out, CK_BYTE **data, CK_ULONG *len)
{
  if (out->failed) {
    tok_wipe_free(out->data, out->room);
    *out = (struct tok_der_out){NULL, 0, 0, false};
    return CKR_HOST_MEMORY;
  }
  *data = out->data;
  *len = out->len;
  *out = (struct tok_der_out){NULL, 0, 0, false};
  return CKR_OK;
}
