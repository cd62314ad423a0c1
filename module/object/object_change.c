/* Templates that meet an object that is there already: C_SetAttributeValue, C_CopyObject, and the templates that a
 * key has for those unwrapped with it or derived from it. */
#include <string.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/sessions.h"
#include "object/attr_values.h"
#include "object/making.h"

/* Footnotes 11 and 12; `from` is NULL if the attribute was not there. Only booleans have them. */
static bool change_allowed(const struct tok_rule *rule, const CK_BYTE *from, const CK_BYTE *to)
{
  if (from == NULL || to == NULL) return true;
  if ((rule->footnotes & F11) != 0 && from[0] != CK_FALSE && to[0] == CK_FALSE) return false;
  return (rule->footnotes & F12) == 0 || from[0] != CK_FALSE || to[0] == CK_FALSE;
}

/* One attribute of a template onto `attrs`. */
static CK_RV apply(const struct tok_session *session, const struct tok_kind *kind, bool copying,
                   const CK_ATTRIBUTE *from, struct tok_attrs *attrs)
{
  struct tok_attrs one = TOK_ATTRS_EMPTY;
  const struct tok_rule *rule = tok_rule_find(kind, from->type);
  CK_ULONG len, old_len;
  if (rule == NULL) return CKR_ATTRIBUTE_TYPE_INVALID;
  CK_RV rv = tok_value_take(&one, from);
  if (rv != CKR_OK) goto out;
  const CK_BYTE *fresh = tok_attrs_get(&one, from->type, &len);
  const CK_BYTE *old = tok_attrs_get(attrs, from->type, &old_len);
  /* A copy may be told again what it will be anyhow; CKA_UNIQUE_ID never. The value of a hidden attribute cannot be
   * tried. */
  bool same = old != NULL && old_len == len && memcmp(old, fresh, len) == 0 && (rule->footnotes & (F7 | FT)) == 0;
  rv = CKR_ATTRIBUTE_READ_ONLY;
  if (copying && same)
    rv = CKR_OK;
  else if ((rule->footnotes & (copying ? F8 | FC : F8)) == 0)
    goto out;
  else if (!change_allowed(rule, old, fresh))
    goto out;
  else if ((rule->footnotes & F10) != 0 && fresh[0] != CK_FALSE && tok_auth_who(session->slot) != TOK_SO)
    goto out;
  /* "C_SetAttributeValue may be used to destroy the attribute, by supplying no-value" (Secret key objects). */
  else if (from->type == CKA_CHECK_VALUE && len > 0)
    goto out;
  else
    rv = tok_attrs_set(attrs, from->type, fresh, len);
out:
  tok_attrs_clear(&one);
  return rv;
}

CK_RV tok_template_apply(const struct tok_session *session, const struct tok_object *object, bool copying,
                         const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *attrs)
{
  CK_RV rv = tok_attrs_copy(attrs, &object->attrs);
  for (CK_ULONG i = 0; i < count && rv == CKR_OK; i++) {
    for (CK_ULONG k = 0; k < i && rv == CKR_OK; k++)
      if (templ[k].type == templ[i].type) rv = CKR_TEMPLATE_INCONSISTENT;
    if (rv == CKR_OK) rv = apply(session, object->kind, copying, &templ[i], attrs);
  }
  if (rv == CKR_OK) rv = tok_attrs_consistent(session, attrs);
  if (rv != CKR_OK) tok_attrs_clear(attrs);
  return rv;
}

CK_RV tok_template_impose(struct tok_attrs *attrs, enum tok_origin origin, const struct tok_object *base)
{
  struct tok_attrs wanted = TOK_ATTRS_EMPTY;
  CK_ULONG len;
  const struct tok_kind *kind = tok_kind_of(attrs);
  CK_ATTRIBUTE_TYPE which = origin == TOK_UNWRAP ? CKA_UNWRAP_TEMPLATE : CKA_DERIVE_TEMPLATE;
  const CK_BYTE *stored = tok_attrs_get(&base->attrs, which, &len);
  if (stored == NULL || (origin != TOK_UNWRAP && origin != TOK_DERIVE)) return CKR_OK;
  CK_RV rv = tok_attrs_read(&wanted, stored, len);
  for (size_t i = 0; i < wanted.count && rv == CKR_OK; i++) {
    const struct tok_attr *want = &wanted.list[i];
    if (tok_attrs_equal(attrs, want->type, want->value, want->len)) continue;
    bool decided = tok_told(attrs, want->type) || want->type == CKA_CLASS || want->type == CKA_KEY_TYPE;
    if (decided || tok_rule_find(kind, want->type) == NULL)
      rv = CKR_TEMPLATE_INCONSISTENT;
    else
      rv = tok_attrs_set(attrs, want->type, want->value, want->len);
  }
  tok_attrs_clear(&wanted);
  return rv;
}

CK_RV tok_unwrap_keep_sensitive(const struct tok_object *unwrapping_key, struct tok_attrs *attrs)
{
  if (unwrapping_key->class != CKO_SECRET_KEY) return CKR_OK;
  if (!tok_attrs_bool(&unwrapping_key->attrs, CKA_SENSITIVE, false)) return CKR_OK;
  if (!tok_told(attrs, CKA_SENSITIVE)) return tok_attrs_set_bool(attrs, CKA_SENSITIVE, true);
  return tok_attrs_bool(attrs, CKA_SENSITIVE, false) ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
}
