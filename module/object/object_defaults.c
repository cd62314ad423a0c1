/* What an object has when its template is silent. */
#include "object/making.h"

bool tok_private_by_default(CK_OBJECT_CLASS class, bool token)
{
  /* Session keys are not private by default: NSS makes secret keys before anybody has logged in. */
  return token && (class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY);
}

static CK_RV fill(struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_origin origin,
                  const struct tok_rule *rule)
{
  switch ((enum tok_default)rule->otherwise) {
    case TOK_D_ABSENT: break;
    case TOK_D_FALSE: return tok_attrs_set_bool(attrs, rule->type, false);
    case TOK_D_TRUE: return tok_attrs_set_bool(attrs, rule->type, true);
    case TOK_D_EMPTY: return tok_attrs_set(attrs, rule->type, "", 0);
    case TOK_D_ZERO: return tok_attrs_set_ulong(attrs, rule->type, 0);
    case TOK_D_UNKNOWN: return tok_attrs_set_ulong(attrs, rule->type, CK_UNAVAILABLE_INFORMATION);
    case TOK_D_USAGE: return tok_attrs_set_bool(attrs, rule->type, tok_use_by_default(kind, rule->type));
    case TOK_D_PRIVATE:
      return tok_attrs_set_bool(attrs, rule->type,
                                tok_private_by_default(kind->class, tok_attrs_bool(attrs, CKA_TOKEN, false)));
    case TOK_D_EXTRACTABLE:
      /* A key made here that nobody said may leave does not; one that came from outside has left already. */
      return tok_attrs_set_bool(attrs, rule->type, kind->class != CKO_PRIVATE_KEY || origin != TOK_GENERATE);
  }
  return CKR_OK;
}

CK_RV tok_defaults_fill(struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_origin origin)
{
  const struct tok_rule *const *rules;
  size_t count = tok_rules_of(kind, &rules);
  CK_RV rv = CKR_OK;
  for (size_t i = 0; i < count && rv == CKR_OK; i++)
    if (rules[i]->otherwise != TOK_D_ABSENT && !tok_attrs_has(attrs, rules[i]->type))
      rv = fill(attrs, kind, origin, rules[i]);
  return rv;
}

CK_RV tok_footnote_present(const struct tok_attrs *attrs, const struct tok_kind *kind, uint32_t footnote)
{
  const struct tok_rule *const *rules;
  size_t count = tok_rules_of(kind, &rules);
  for (size_t i = 0; i < count; i++)
    if ((rules[i]->footnotes & footnote) != 0 && !tok_attrs_has(attrs, rules[i]->type)) return CKR_TEMPLATE_INCOMPLETE;
  return CKR_OK;
}

static CK_RV set_bits(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE number, CK_ATTRIBUTE_TYPE bits)
{
  CK_ULONG len;
  const CK_BYTE *at = tok_attrs_get(attrs, number, &len);
  for (; len > 0 && *at == 0; at++) len--;
  if (len == 0) return CKR_OK;
  CK_ULONG count = len * 8;
  for (unsigned top = *at; (top & 0x80) == 0; top <<= 1) count--;
  return tok_attrs_set_ulong(attrs, bits, count);
}

CK_RV tok_domain_complete(struct tok_attrs *attrs)
{
  if (tok_attrs_ulong(attrs, CKA_CLASS, 0) != CKO_DOMAIN_PARAMETERS) return CKR_OK;
  CK_RV rv = set_bits(attrs, CKA_PRIME, CKA_PRIME_BITS);
  return rv == CKR_OK ? set_bits(attrs, CKA_SUBPRIME, CKA_SUBPRIME_BITS) : rv;
}
