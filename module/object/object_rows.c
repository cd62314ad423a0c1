/* Between objects and rows of the token file. */
#include "object/object_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/slots.h"
#include "crypto/hash.h"
#include "object/object_tags.h"

void tok_uuid_text(const uint8_t uuid[16], char text[37])
{
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *text++ = '-';
    *text++ = digits[uuid[i] >> 4];
    *text++ = digits[uuid[i] & 15];
  }
  *text = '\0';
}

static int digit(CK_BYTE c)
{
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tok_uuid_parse(const CK_BYTE *text, CK_ULONG len, uint8_t uuid[16])
{
  size_t count = 0;
  if (len != 36) return false;
  for (CK_ULONG i = 0; i < len; i++) {
    if (text[i] == '-') continue;
    int high = digit(text[i]), low = i + 1 < len ? digit(text[i + 1]) : -1;
    if (high < 0 || low < 0 || count == 16) return false;
    uuid[count++] = (uint8_t)(high << 4 | low);
    i++;
  }
  return count == 16;
}

static bool in_the_clear(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  return !tok_attr_is_secret(tok_kind_of(attrs), type);
}

static bool secret(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  return tok_attr_is_secret(tok_kind_of(attrs), type);
}

static bool any_secret(const struct tok_attrs *attrs, const struct tok_kind *kind)
{
  for (size_t i = 0; i < attrs->count; i++)
    if (tok_attr_is_secret(kind, attrs->list[i].type)) return true;
  return false;
}

/* What a sealed part belongs to: the row's uuid, class and open part. */
#define BOUND (16 + 8 + 32)
static CK_RV bind(const struct tok_row *row, uint8_t bound[BOUND])
{
  memcpy(bound, row->uuid, 16);
  for (size_t i = 0; i < 8; i++) bound[16 + i] = (uint8_t)((uint64_t)row->class >> (8 * i));
  return tok_hash_once(TOK_SHA256, row->open_len > 0 ? row->open : (const uint8_t *)"", row->open_len, bound + 24);
}

static CK_RV seal(struct tok_slot *slot, const CK_BYTE *plain, size_t len, struct tok_row *row)
{
  uint8_t bound[BOUND];
  CK_RV rv = bind(row, bound);
  return rv == CKR_OK ? tok_seal(slot, bound, BOUND, plain, len, &row->sealed, &row->sealed_len) : rv;
}

static CK_RV add_tags(struct tok_slot *slot, const struct tok_attrs *attrs, const struct tok_kind *kind,
                      struct tok_row *row)
{
  for (unsigned tag = 1; tag < TOK_TAG_END; tag++) {
    CK_ULONG len;
    CK_BYTE *joined;
    CK_RV rv;
    const CK_BYTE *value = tok_tag_value(attrs, kind, tag, &len, &joined, &rv);
    if (value != NULL) {
      rv = tok_tag_make(slot, row->private, tag, value, len, &row->tags[row->tag_count]);
      row->tag_count++;
    }
    if (joined != NULL) tok_wipe_free(joined, len);
    if (rv != CKR_OK) return rv;
  }
  return CKR_OK;
}

CK_RV tok_row_make(struct tok_slot *slot, const struct tok_attrs *attrs, struct tok_row *row)
{
  const struct tok_kind *kind = tok_kind_of(attrs);
  CK_BYTE *plain = NULL;
  size_t len = 0;
  CK_ULONG id_len;
  const CK_BYTE *id = tok_attrs_get(attrs, CKA_UNIQUE_ID, &id_len);
  *row = (struct tok_row){0};
  if (kind == NULL || id == NULL || !tok_uuid_parse(id, id_len, row->uuid)) return CKR_GENERAL_ERROR;
  row->class = kind->class;
  row->private = tok_attrs_bool(attrs, CKA_PRIVATE, false);
  CK_RV rv = CKR_OK;
  if (row->private) {
    rv = tok_attrs_write(attrs, NULL, &plain, &len);
    if (rv == CKR_OK) rv = seal(slot, plain, len, row);
  } else if (any_secret(attrs, kind)) {
    rv = tok_attrs_write(attrs, in_the_clear, &row->open, &row->open_len);
    if (rv == CKR_OK) rv = tok_attrs_write(attrs, secret, &plain, &len);
    if (rv == CKR_OK) rv = seal(slot, plain, len, row);
  } else {
    rv = tok_attrs_write(attrs, NULL, &row->open, &row->open_len);
  }
  tok_wipe_free(plain, len);
  if (rv == CKR_OK) rv = add_tags(slot, attrs, kind, row);
  if (rv != CKR_OK) tok_row_clear(row);
  return rv;
}

static CK_RV unseal(struct tok_slot *slot, const struct tok_row *row, struct tok_attrs *attrs)
{
  uint8_t bound[BOUND], *plain = NULL;
  size_t len = 0;
  CK_RV rv = bind(row, bound);
  if (rv == CKR_OK) rv = tok_unseal(slot, bound, BOUND, row->sealed, row->sealed_len, &plain, &len);
  if (rv == CKR_OK) rv = tok_attrs_read(attrs, plain, len);
  tok_wipe_free(plain, len);
  return rv;
}

/* What the row says outside the sealed part must agree with what is inside. */
static bool agrees(const struct tok_row *row, const struct tok_attrs *attrs)
{
  char text[37];
  tok_uuid_text(row->uuid, text);
  return tok_attrs_bool(attrs, CKA_TOKEN, false) && tok_attrs_bool(attrs, CKA_PRIVATE, false) == row->private &&
         tok_attrs_ulong(attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION) == row->class &&
         tok_attrs_equal(attrs, CKA_UNIQUE_ID, text, 36) && tok_kind_of(attrs) != NULL;
}

CK_RV tok_row_read(struct tok_slot *slot, const struct tok_row *row, struct tok_object **object, bool *opened)
{
  struct tok_attrs attrs = TOK_ATTRS_EMPTY;
  bool user = tok_auth_who(slot) == TOK_USER;
  CK_RV rv = CKR_OK;
  *opened = row->private || row->sealed_len > 0;
  if (row->private && !user) return CKR_OBJECT_HANDLE_INVALID;
  if (row->open_len > 0) rv = tok_attrs_read(&attrs, row->open, row->open_len);
  if (rv == CKR_OK && *opened && user) rv = unseal(slot, row, &attrs);
  /* The login may have ended meanwhile. */
  if (rv == CKR_USER_NOT_LOGGED_IN) rv = row->private ? CKR_OBJECT_HANDLE_INVALID : CKR_OK;
  if (rv == CKR_OK && !agrees(row, &attrs)) rv = CKR_DEVICE_ERROR;
  if (rv != CKR_OK) goto out;
  *object = tok_object_new(slot, &attrs);
  if (*object == NULL) return CKR_HOST_MEMORY;
  (*object)->row = row->id;
  (*object)->version = row->version;
  (*object)->sealed = *opened && !any_secret(&(*object)->attrs, (*object)->kind) && !row->private;
out:
  tok_attrs_clear(&attrs);
  return rv;
}
