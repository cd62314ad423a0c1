/* Writing and reading saved states. Big-endian: a token's folder may lie on another machine's disk. */
#include "crypto/saving.h"

#include <string.h>

#include "core/module.h"

static CK_BYTE *reserve(struct tok_saving *to, size_t len)
{
  if (to->failed) return NULL;
  if (len > to->room - to->len) {
    size_t room = 2 * (to->len + len) + 512;
    CK_BYTE *moved = len < SIZE_MAX / 4 ? tok_alloc(room) : NULL;
    if (moved == NULL) {
      to->failed = true;
      return NULL;
    }
    if (to->len > 0) memcpy(moved, to->data, to->len);
    tok_wipe_free(to->data, to->room);
    to->data = moved;
    to->room = room;
  }
  CK_BYTE *place = to->data + to->len;
  to->len += len;
  return place;
}

void tok_save_number(struct tok_saving *to, uint64_t number)
{
  CK_BYTE *place = reserve(to, 8);
  if (place == NULL) return;
  for (int i = 7; i >= 0; i--, number >>= 8) place[i] = (CK_BYTE)number;
}

void tok_save_bytes(struct tok_saving *to, const void *bytes, size_t len)
{
  tok_save_number(to, len);
  CK_BYTE *place = reserve(to, len);
  if (place != NULL && len > 0) memcpy(place, bytes, len);
}

void tok_saving_clear(struct tok_saving *to)
{
  tok_wipe_free(to->data, to->room);
  *to = (struct tok_saving){NULL, 0, 0, false};
}

uint64_t tok_saved_number(struct tok_saved *from)
{
  if (from->bad || from->left < 8) {
    from->bad = true;
    return 0;
  }
  uint64_t number = 0;
  for (int i = 0; i < 8; i++) number = number << 8 | from->at[i];
  from->at += 8;
  from->left -= 8;
  return number;
}

const CK_BYTE *tok_saved_bytes(struct tok_saved *from, size_t *len)
{
  uint64_t size = tok_saved_number(from);
  if (size > from->left) from->bad = true;
  *len = from->bad ? 0 : (size_t)size;
  const CK_BYTE *bytes = from->at;
  from->at += *len;
  from->left -= *len;
  return bytes;
}

void tok_saved_copy(struct tok_saved *from, void *to, size_t len)
{
  size_t size = 0;
  const CK_BYTE *bytes = tok_saved_bytes(from, &size);
  if (size != len) from->bad = true;
  if (from->bad)
    memset(to, 0, len);
  else
    memcpy(to, bytes, len);
}
