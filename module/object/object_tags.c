/* What objects are found by. */
#include "object/object_tags.h"

#include <string.h>

#include "auth/auth.h"
#include "core/module.h"
#include "crypto/hash.h"

/* By how well they single an object out: the first that a search template has is looked up. */
static const struct {
  enum tok_tag_kind kind;
  CK_ATTRIBUTE_TYPE type, second;
} tags[] = {
    {TOK_TAG_UNIQUE_ID,        CKA_UNIQUE_ID,           0                },
    {TOK_TAG_ISSUER_SERIAL,    CKA_ISSUER,              CKA_SERIAL_NUMBER},
    {TOK_TAG_VALUE,            CKA_VALUE,               0                },
    {TOK_TAG_NSS_SHA1,         CKA_NSS_CERT_SHA1_HASH,  0                },
    {TOK_TAG_CERTIFICATE_HASH, CKA_HASH_OF_CERTIFICATE, 0                },
    {TOK_TAG_MODULUS,          CKA_MODULUS,             0                },
    {TOK_TAG_EC_POINT,         CKA_EC_POINT,            0                },
    {TOK_TAG_ID,               CKA_ID,                  0                },
    {TOK_TAG_LABEL,            CKA_LABEL,               0                },
    {TOK_TAG_SUBJECT,          CKA_SUBJECT,             0                },
    {TOK_TAG_NSS_EMAIL,        CKA_NSS_EMAIL,           0                },
};
#define TAGS (sizeof tags / sizeof tags[0])
_Static_assert(TAGS == TOK_TAG_END - 1 && TAGS <= TOK_MAX_TAGS, "each tag has its line, and a row has room for all");

static size_t line_of(enum tok_tag_kind kind)
{
  size_t i = 0;
  while (i < TAGS - 1 && tags[i].kind != kind) i++;
  return i;
}

/* The first value's length before both, so that no two pairs join to the same bytes. */
static CK_BYTE *join(const CK_BYTE *first, CK_ULONG first_len, const CK_BYTE *second, CK_ULONG second_len,
                     CK_ULONG *len)
{
  *len = sizeof first_len + first_len + second_len;
  CK_BYTE *joined = tok_alloc(*len);
  if (joined == NULL) return NULL;
  memcpy(joined, &first_len, sizeof first_len);
  memcpy(joined + sizeof first_len, first, first_len);
  memcpy(joined + sizeof first_len + first_len, second, second_len);
  return joined;
}

const CK_BYTE *tok_tag_value(const struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_tag_kind tag,
                             CK_ULONG *len, CK_BYTE **joined, CK_RV *rv)
{
  size_t i = line_of(tag);
  *joined = NULL;
  *rv = CKR_OK;
  const CK_BYTE *value = tok_attrs_get(attrs, tags[i].type, len);
  if (value == NULL || *len == 0 || (kind != NULL && tok_attr_is_secret(kind, tags[i].type))) return NULL;
  if (tags[i].second == 0) return value;
  CK_ULONG second_len;
  const CK_BYTE *second = tok_attrs_get(attrs, tags[i].second, &second_len);
  if (second == NULL || second_len == 0) return NULL;
  *joined = join(value, *len, second, second_len, len);
  if (*joined == NULL) *rv = CKR_HOST_MEMORY;
  return *joined;
}

bool tok_tag_covers(enum tok_tag_kind tag, CK_ATTRIBUTE_TYPE type)
{
  size_t i = line_of(tag);
  return tags[i].type == type || (tags[i].second != 0 && tags[i].second == type);
}

CK_RV tok_tag_make(struct tok_slot *slot, bool private, enum tok_tag_kind kind, const CK_BYTE *value, CK_ULONG len,
                   struct tok_tag *tag)
{
  CK_BYTE hash[32];
  CK_BYTE *input = tok_alloc(len + 1);
  if (input == NULL) return CKR_HOST_MEMORY;
  input[0] = (CK_BYTE)kind;
  memcpy(input + 1, value, len);
  tag->kind = (uint8_t)kind;
  CK_RV rv;
  if (private) {
    rv = tok_private_tag(slot, input, len + 1, tag->tag);
  } else {
    rv = tok_hash_once(TOK_SHA256, input, len + 1, hash);
    if (rv == CKR_OK) memcpy(tag->tag, hash, sizeof tag->tag);
  }
  tok_wipe_free(input, len + 1);
  return rv;
}

enum tok_tag_kind tok_tag_best(const struct tok_attrs *wanted)
{
  CK_OBJECT_CLASS class = tok_attrs_ulong(wanted, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  /* CKA_VALUE of these is a secret, which leaves no tag. */
  bool secret = class == CK_UNAVAILABLE_INFORMATION || class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY;
  for (size_t i = 0; i < TAGS; i++) {
    CK_ULONG len, second = 1;
    if (tags[i].type == CKA_VALUE && secret) continue;
    if (tok_attrs_get(wanted, tags[i].type, &len) == NULL || len == 0) continue;
    if (tags[i].second != 0 && tok_attrs_get(wanted, tags[i].second, &second) == NULL) continue;
    if (second > 0) return tags[i].kind;
  }
  return 0;
}

bool tok_held_tag(const struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_tag_kind tag, uint64_t *key)
{
  size_t i = line_of(tag);
  CK_ULONG len, second_len;
  if (kind != NULL && tok_attr_is_secret(kind, tags[i].type)) return false;
  const CK_BYTE *value = tok_attrs_get(attrs, tags[i].type, &len);
  if (value == NULL || len == 0) return false;
  *key = tok_index_hash(tag, value, len);
  if (tags[i].second == 0) return true;
  value = tok_attrs_get(attrs, tags[i].second, &second_len);
  if (value == NULL || second_len == 0) return false;
  *key = tok_index_hash(*key, value, second_len);
  return true;
}
