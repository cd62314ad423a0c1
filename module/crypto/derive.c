/* What derivations share. */
#include "crypto/derive.h"

#include "core/entry.h"
#include "core/module.h"
#include "crypto/secret.h"

/* 112 bits: what NIST SP 800-131A still calls enough. */
#define ENOUGH 14

CK_RV tok_derive_value(const struct tok_object *base, struct tok_span *value)
{
  if (base->class != CKO_SECRET_KEY && base->class != CKO_DATA) return CKR_KEY_TYPE_INCONSISTENT;
  value->data = tok_attrs_get(&base->attrs, CKA_VALUE, &value->len);
  return value->data != NULL && value->len > 0 ? CKR_OK : CKR_KEY_TYPE_INCONSISTENT;
}

bool tok_derive_readable(const struct tok_object *base)
{
  if (base->class == CKO_DATA) return true;
  return !tok_attrs_bool(&base->attrs, CKA_SENSITIVE, true) && tok_attrs_bool(&base->attrs, CKA_EXTRACTABLE, false);
}

bool tok_derive_stays(const struct tok_object *base)
{
  return base->class != CKO_DATA && !tok_attrs_bool(&base->attrs, CKA_EXTRACTABLE, false);
}

const CK_ATTRIBUTE *tok_template_find(const struct tok_template *t, CK_ATTRIBUTE_TYPE type)
{
  for (CK_ULONG i = 0; i < t->count; i++)
    if (t->list[i].type == type) return &t->list[i];
  return NULL;
}

CK_RV tok_derive_length(const struct tok_attrs *key, const struct tok_template *t, CK_ULONG natural, bool any,
                        CK_ULONG *len)
{
  CK_KEY_TYPE type = tok_attrs_ulong(key, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
  CK_ULONG fixed = tok_secret_fixed_size(type);
  const CK_ATTRIBUTE *asked = tok_template_find(t, CKA_VALUE_LEN);
  if (asked != NULL) {
    if (asked->ulValueLen != sizeof *len || *(const CK_ULONG *)asked->pValue == 0) return CKR_ATTRIBUTE_VALUE_INVALID;
    *len = *(const CK_ULONG *)asked->pValue;
    if (fixed != 0 && *len != fixed) return CKR_TEMPLATE_INCONSISTENT;
    if (*len > TOK_DERIVE_MOST) return CKR_KEY_SIZE_RANGE;
    /* "If both a key type and a length are provided in the template, the length must be compatible with that key
     * type." */
    return tok_secret_size_ok(type, *len) ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
  }
  if (fixed != 0) {
    *len = fixed;
    return CKR_OK;
  }
  /* "If no length was provided in the template, but a key type is, then that key type must have a well-defined
   * length." */
  bool some = type == CKK_AES || type == CKK_RC2 || type == CKK_RC4;
  if (natural == 0 || (some && !any)) return CKR_TEMPLATE_INCOMPLETE;
  if (!tok_secret_size_ok(type, natural)) return CKR_TEMPLATE_INCOMPLETE;
  *len = natural;
  return natural <= TOK_DERIVE_MOST ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

CK_RV tok_derive_set(struct tok_attrs *key, const CK_BYTE *value, CK_ULONG len)
{
  CK_RV rv = tok_attrs_set(key, CKA_VALUE, value, len);
  if (rv != CKR_OK || tok_attrs_ulong(key, CKA_CLASS, CKO_SECRET_KEY) != CKO_SECRET_KEY) return rv;
  if (tok_secret_fixed_size(tok_attrs_ulong(key, CKA_KEY_TYPE, CKK_GENERIC_SECRET)) == 0)
    return tok_attrs_set_ulong(key, CKA_VALUE_LEN, len);
  tok_attrs_remove(key, CKA_VALUE_LEN);
  return CKR_OK;
}

CK_RV tok_derive_leading(struct tok_attrs *key, const struct tok_template *t, const CK_BYTE *material, CK_ULONG len)
{
  CK_ULONG wanted = 0;
  CK_RV rv = tok_derive_length(key, t, len, false, &wanted);
  if (rv != CKR_OK) return rv;
  return wanted <= len ? tok_derive_set(key, material, wanted) : CKR_TEMPLATE_INCONSISTENT;
}

CK_RV tok_derive_trailing(struct tok_attrs *key, const struct tok_template *t, const CK_BYTE *material, CK_ULONG len)
{
  CK_ULONG wanted = 0;
  CK_RV rv = tok_derive_length(key, t, len, true, &wanted);
  if (rv != CKR_OK) return rv;
  return wanted <= len ? tok_derive_set(key, material + (len - wanted), wanted) : CKR_TEMPLATE_INCONSISTENT;
}

/* One of the two attributes; `safe` is its stricter value. */
static CK_RV inherit(struct tok_attrs *key, const struct tok_template *t, CK_ATTRIBUTE_TYPE type, bool base, bool safe,
                     enum tok_bond bond)
{
  const CK_ATTRIBUTE *asked = tok_template_find(t, type);
  if (asked == NULL) return tok_attrs_set_bool(key, type, base);
  bool value = tok_attrs_bool(key, type, base);
  if (bond == TOK_BOND_EQUAL && value != base) return CKR_TEMPLATE_INCONSISTENT;
  if (bond == TOK_BOND_BINDS && base == safe && value != safe) return CKR_TEMPLATE_INCONSISTENT;
  return CKR_OK;
}

CK_RV tok_derive_inherit(struct tok_attrs *key, const struct tok_template *t, const struct tok_object *base,
                         enum tok_bond bond)
{
  if (bond == TOK_BOND_NONE || base->class == CKO_DATA) return CKR_OK;
  if (tok_attrs_ulong(key, CKA_CLASS, CKO_SECRET_KEY) != CKO_SECRET_KEY) return CKR_OK;
  CK_RV rv = inherit(key, t, CKA_SENSITIVE, tok_attrs_bool(&base->attrs, CKA_SENSITIVE, true), true, bond);
  if (rv != CKR_OK) return rv;
  rv = inherit(key, t, CKA_EXTRACTABLE, tok_attrs_bool(&base->attrs, CKA_EXTRACTABLE, false), false, bond);
  /* Else the same bits would leave under a key that nobody trusts. */
  bool trusted_only = bond == TOK_BOND_BINDS && tok_attrs_bool(&base->attrs, CKA_WRAP_WITH_TRUSTED, false);
  return rv == CKR_OK && trusted_only ? inherit(key, t, CKA_WRAP_WITH_TRUSTED, true, true, bond) : rv;
}

CK_RV tok_derive_enough(const struct tok_object *base, CK_ULONG len, CK_ULONG taken)
{
  if (tok_derive_readable(base) || taken == 0 || taken >= len) return CKR_OK;
  if (tok_derive_stays(base) || tok_attrs_has(&base->attrs, TOK_A_MIXED)) return CKR_KEY_SIZE_RANGE;
  return taken >= ENOUGH ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

CK_RV tok_derive_halves(const struct tok_object *key)
{
  bool mixed = tok_derive_stays(key) && tok_attrs_has(&key->attrs, TOK_A_MIXED);
  return mixed ? CKR_KEY_FUNCTION_NOT_PERMITTED : CKR_OK;
}

CK_RV tok_derive_publish(struct tok_session *session, const struct tok_object *base, struct tok_attrs *key,
                         CK_OBJECT_HANDLE *handle)
{
  static const CK_ATTRIBUTE_TYPE history[] = {CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE};
  const CK_MECHANISM_TYPE none = CK_UNAVAILABLE_INFORMATION;
  if (!tok_attrs_has(key, history[0]) && !tok_attrs_has(key, history[1]))
    return tok_object_add(session, TOK_DERIVE, none, base, key, handle);
  /* Several parents: to tok_object_add they are one, with the history that they have together. */
  struct tok_object parents = {.slot = base->slot, .class = CKO_SECRET_KEY, .key_type = base->key_type};
  parents.private = base->private;
  CK_RV rv = tok_attrs_copy(&parents.attrs, &base->attrs);
  tok_attrs_remove(&parents.attrs, CKA_VALUE);
  for (size_t i = 0; rv == CKR_OK && i < sizeof history / sizeof history[0]; i++) {
    bool own = tok_attrs_bool(&base->attrs, history[i], false);
    rv = tok_attrs_set_bool(&parents.attrs, history[i], tok_attrs_bool(key, history[i], own));
    tok_attrs_remove(key, history[i]);
  }
  if (rv == CKR_OK)
    rv = tok_object_add(session, TOK_DERIVE, none, &parents, key, handle);
  else
    tok_attrs_clear(key);
  tok_attrs_clear(&parents.attrs);
  return rv;
}

void tok_derive_discard(struct tok_session *session, CK_OBJECT_HANDLE *handles, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (handles[i] != 0) (void)tok_C_DestroyObject(session, session->handle, handles[i]);
    handles[i] = 0;
  }
}
