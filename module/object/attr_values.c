/* Values of attributes on their way in and out. */
#include "object/attr_values.h"

#include <ctype.h>
#include <string.h>

#include "core/module.h"
#include "spec.h"

/* Templates in templates in templates: nobody needs more. */
#define DEEPEST 3

static enum p11_value_kind form_of(CK_ATTRIBUTE_TYPE type)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  return info != NULL ? (enum p11_value_kind)info->kind : P11_A_BYTES;
}

static bool is_date(const CK_BYTE *value, CK_ULONG len)
{
  for (CK_ULONG i = 0; i < len; i++)
    if (!isdigit(value[i])) return false;
  return len == 0 || len == sizeof(CK_DATE);
}

static bool well_formed(enum p11_value_kind form, const CK_BYTE *value, CK_ULONG len)
{
  switch (form) {
    case P11_A_BOOL: return len == sizeof(CK_BBOOL) && (value[0] == CK_TRUE || value[0] == CK_FALSE);
    case P11_A_NUMBER:
    case P11_A_ENUM: return len == sizeof(CK_ULONG);
    case P11_A_DATE: return is_date(value, len);
    case P11_A_TEMPLATE: return len % sizeof(CK_ATTRIBUTE) == 0;
    case P11_A_MECHANISMS: return len % sizeof(CK_MECHANISM_TYPE) == 0;
    default: return true;
  }
}

static CK_RV take(struct tok_attrs *attrs, const CK_ATTRIBUTE *from, unsigned depth);

static CK_RV take_template(struct tok_attrs *attrs, const CK_ATTRIBUTE *from, unsigned depth)
{
  struct tok_attrs inner = TOK_ATTRS_EMPTY;
  CK_BYTE *bytes = NULL;
  size_t len = 0;
  CK_RV rv = depth < DEEPEST ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  for (CK_ULONG i = 0; i < from->ulValueLen / sizeof(CK_ATTRIBUTE) && rv == CKR_OK; i++) {
    CK_ATTRIBUTE one; /* the caller's array need not be aligned */
    memcpy(&one, (const CK_BYTE *)from->pValue + i * sizeof one, sizeof one);
    rv = tok_attrs_has(&inner, one.type) ? CKR_ATTRIBUTE_VALUE_INVALID : take(&inner, &one, depth + 1);
  }
  if (rv == CKR_OK) rv = tok_attrs_write(&inner, NULL, &bytes, &len);
  if (rv == CKR_OK) rv = tok_attrs_set(attrs, from->type, bytes, len);
  tok_wipe_free(bytes, len);
  tok_attrs_clear(&inner);
  return rv;
}

static CK_RV take(struct tok_attrs *attrs, const CK_ATTRIBUTE *from, unsigned depth)
{
  enum p11_value_kind form = form_of(from->type);
  if (from->ulValueLen > 0 && from->pValue == NULL) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (!well_formed(form, from->pValue, from->ulValueLen)) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (form == P11_A_TEMPLATE) return take_template(attrs, from, depth);
  return tok_attrs_set(attrs, from->type, from->pValue, from->ulValueLen);
}

CK_RV tok_value_take(struct tok_attrs *attrs, const CK_ATTRIBUTE *from)
{
  return take(attrs, from, 0);
}

bool tok_value_is_template(CK_ATTRIBUTE_TYPE type)
{
  return form_of(type) == P11_A_TEMPLATE;
}

/* The array is the caller's: first its length is asked for, then the lengths of its values, then those (PKCS #11 3.2,
 * C_GetAttributeValue). Entries are given in the order of our set; the caller's types are overwritten. */
static CK_RV give_template(const CK_BYTE *value, CK_ULONG len, CK_ATTRIBUTE *to)
{
  struct tok_attrs inner = TOK_ATTRS_EMPTY;
  CK_RV rv = tok_attrs_read(&inner, value, len), worst = CKR_OK;
  CK_ULONG size = inner.count * sizeof(CK_ATTRIBUTE);
  if (rv != CKR_OK) goto out;
  bool fits = to->ulValueLen >= size;
  if (to->pValue != NULL && !fits) {
    size = CK_UNAVAILABLE_INFORMATION;
    worst = CKR_BUFFER_TOO_SMALL;
  }
  for (size_t i = 0; to->pValue != NULL && fits && i < inner.count; i++) {
    CK_ATTRIBUTE one;
    CK_BYTE *place = (CK_BYTE *)to->pValue + i * sizeof one;
    memcpy(&one, place, sizeof one);
    one.type = inner.list[i].type;
    rv = tok_value_give(one.type, inner.list[i].value, inner.list[i].len, &one);
    memcpy(place, &one, sizeof one);
    if (rv != CKR_OK) worst = rv;
  }
  to->ulValueLen = size;
  rv = worst;
out:
  tok_attrs_clear(&inner);
  return rv;
}

CK_RV tok_value_give(CK_ATTRIBUTE_TYPE type, const CK_BYTE *value, CK_ULONG len, CK_ATTRIBUTE *to)
{
  if (tok_value_is_template(type)) return give_template(value, len, to);
  if (to->pValue == NULL) {
    to->ulValueLen = len;
    return CKR_OK;
  }
  if (to->ulValueLen < len) {
    to->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  if (len > 0) memcpy(to->pValue, value, len);
  to->ulValueLen = len;
  return CKR_OK;
}
