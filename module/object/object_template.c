/* Reading the template of a new object (PKCS #11 3.2, "Creating, modifying, and copying objects"). */
#include <string.h>

#include "auth/auth.h"
#include "core/sessions.h"
#include "object/attr_values.h"
#include "object/making.h"
#include "spec.h"

bool tok_told(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  CK_ULONG len;
  const CK_BYTE *list = tok_attrs_get(attrs, TOK_TOLD, &len);
  for (CK_ULONG i = 0; list != NULL && i < len; i += sizeof type)
    if (memcmp(list + i, &type, sizeof type) == 0) return true;
  return false;
}

CK_RV tok_session_may_write(const struct tok_session *session, bool token, bool private)
{
  if (token && !tok_session_rw(session)) return CKR_SESSION_READ_ONLY;
  return private && tok_auth_who(session->slot) != TOK_USER ? CKR_USER_NOT_LOGGED_IN : CKR_OK;
}

/* A number that the template must or may tell. `known` is what the function makes, CK_UNAVAILABLE_INFORMATION if
 * anything; the template may repeat it. *value becomes the template's or the known one. */
static CK_RV number_told(const CK_ATTRIBUTE *templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ULONG known,
                         CK_ULONG *value)
{
  *value = known;
  for (CK_ULONG i = 0; i < count; i++) {
    CK_ULONG told;
    if (templ[i].type != type) continue;
    if (templ[i].ulValueLen != sizeof told || templ[i].pValue == NULL) return CKR_ATTRIBUTE_VALUE_INVALID;
    memcpy(&told, templ[i].pValue, sizeof told);
    if (*value != CK_UNAVAILABLE_INFORMATION && *value != told) return CKR_TEMPLATE_INCONSISTENT;
    *value = told;
  }
  return CKR_OK;
}

/* What kind of object it is to be. Only derivation may leave the type of a secret key open; its class then is that of a
 * secret key. */
static CK_RV kind_told(enum tok_origin origin, CK_OBJECT_CLASS class, CK_KEY_TYPE key_type, const CK_ATTRIBUTE *templ,
                       CK_ULONG count, const struct tok_kind **kind)
{
  CK_ULONG type = CK_UNAVAILABLE_INFORMATION;
  CK_RV rv = number_told(templ, count, CKA_CLASS, class, &class);
  if (rv != CKR_OK) return rv;
  if (class == CK_UNAVAILABLE_INFORMATION && origin == TOK_DERIVE) class = CKO_SECRET_KEY;
  if (class == CK_UNAVAILABLE_INFORMATION) return CKR_TEMPLATE_INCOMPLETE;
  if (!tok_class_known(class)) return CKR_ATTRIBUTE_VALUE_INVALID;
  CK_ATTRIBUTE_TYPE type_attribute = tok_class_type_attribute(class);
  if (type_attribute != 0) {
    rv = number_told(templ, count, type_attribute, type_attribute == CKA_KEY_TYPE ? key_type : type, &type);
    if (rv != CKR_OK) return rv;
    if (type == CK_UNAVAILABLE_INFORMATION && (origin != TOK_DERIVE || class != CKO_SECRET_KEY))
      return CKR_TEMPLATE_INCOMPLETE;
    if (type != CK_UNAVAILABLE_INFORMATION && !tok_type_known(type_attribute, type)) return CKR_ATTRIBUTE_VALUE_INVALID;
  }
  *kind = tok_kind_find(class, type);
  return *kind != NULL ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
}

static uint32_t forbidden(enum tok_origin origin)
{
  switch (origin) {
    case TOK_CREATE: return F2;
    case TOK_GENERATE: return F4;
    case TOK_UNWRAP: return F6;
    /* The standard has no footnote for derivation; what unwrapping contributes, derivation does too. */
    case TOK_DERIVE: return F6;
    case TOK_COPY: break;
  }
  return 0;
}

/* An attribute that objects of this kind do not have. "Trying to create a secret key object with an attribute which
 * is appropriate for various types of public keys or private keys, but not for secret keys" is the standard's own
 * example of an inconsistent template; only what no table has is an invalid type. */
static CK_RV not_of_this_kind(CK_ATTRIBUTE_TYPE type)
{
  return p11_attribute(type) != NULL ? CKR_TEMPLATE_INCONSISTENT : CKR_ATTRIBUTE_TYPE_INVALID;
}

/* One attribute of the template. */
static CK_RV take(const struct tok_session *session, enum tok_origin origin, const struct tok_kind *kind,
                  const CK_ATTRIBUTE *from, struct tok_attrs *attrs)
{
  const struct tok_rule *rule = tok_rule_find(kind, from->type);
  if (rule == NULL) return not_of_this_kind(from->type);
  if ((rule->footnotes & forbidden(origin)) != 0) return CKR_ATTRIBUTE_READ_ONLY;
  if (tok_attrs_has(attrs, from->type)) {
    /* Twice the same is harmless, two values are the standard's example of an inconsistent template. */
    if (tok_value_is_template(from->type)) return CKR_TEMPLATE_INCONSISTENT;
    return tok_attrs_equal(attrs, from->type, from->pValue, from->ulValueLen) ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
  }
  CK_RV rv = tok_value_take(attrs, from);
  if (rv != CKR_OK) return rv;
  if ((rule->footnotes & F10) != 0 && tok_attrs_bool(attrs, from->type, false) && tok_auth_who(session->slot) != TOK_SO)
    return CKR_ATTRIBUTE_READ_ONLY;
  return CKR_OK;
}

static CK_RV remember_told(struct tok_attrs *attrs)
{
  CK_ATTRIBUTE_TYPE types[64];
  size_t count = attrs->count < 64 ? attrs->count : 64;
  for (size_t i = 0; i < count; i++) types[i] = attrs->list[i].type;
  return tok_attrs_set(attrs, TOK_TOLD, types, count * sizeof types[0]);
}

CK_RV tok_attrs_consistent(const struct tok_session *session, const struct tok_attrs *attrs)
{
  if (tok_attrs_bool(attrs, CKA_ALWAYS_AUTHENTICATE, false) && !tok_attrs_bool(attrs, CKA_PRIVATE, false))
    return CKR_TEMPLATE_INCONSISTENT;
  /* A profile is what the token says of itself, so not anybody's to add. */
  if (tok_attrs_ulong(attrs, CKA_CLASS, 0) == CKO_PROFILE && tok_auth_who(session->slot) != TOK_SO)
    return CKR_ATTRIBUTE_VALUE_INVALID;
  return CKR_OK;
}

CK_RV tok_template_read(struct tok_session *session, enum tok_origin origin, CK_OBJECT_CLASS class,
                        CK_KEY_TYPE key_type, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *attrs)
{
  const struct tok_kind *kind = NULL;
  CK_RV rv = kind_told(origin, class, key_type, templ, count, &kind);
  for (CK_ULONG i = 0; i < count && rv == CKR_OK; i++) rv = take(session, origin, kind, &templ[i], attrs);
  if (rv == CKR_OK) rv = remember_told(attrs);
  if (rv == CKR_OK) rv = tok_attrs_set_ulong(attrs, CKA_CLASS, kind->class);
  if (rv == CKR_OK && kind->type != CK_UNAVAILABLE_INFORMATION)
    rv = tok_attrs_set_ulong(attrs, tok_class_type_attribute(kind->class), kind->type);
  if (rv == CKR_OK && origin == TOK_GENERATE) rv = tok_footnote_present(attrs, kind, F3);
  if (rv != CKR_OK) goto out;

  bool token = tok_attrs_bool(attrs, CKA_TOKEN, false);
  bool private = tok_attrs_bool(attrs, CKA_PRIVATE, tok_private_by_default(kind->class, token));
  rv = tok_session_may_write(session, token, private);
  /* A key whose type is still open gets its defaults in tok_object_add. */
  if (rv == CKR_OK && (kind->type != CK_UNAVAILABLE_INFORMATION || tok_class_type_attribute(kind->class) == 0))
    rv = tok_defaults_fill(attrs, kind, origin);
  if (rv == CKR_OK) rv = tok_attrs_consistent(session, attrs);
out:
  if (rv != CKR_OK) tok_attrs_clear(attrs);
  return rv;
}
