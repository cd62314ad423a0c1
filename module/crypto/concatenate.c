/* New keys from the bits of old ones: concatenation, XOR, extraction (PKCS #11 3.2, "Miscellaneous simple key
 * derivation mechanisms"). All of them can be undone by who knows the rest, so what protects the base protects the new
 * key. */
#include <string.h>

#include "core/module.h"
#include "crypto/derive.h"
#include "crypto/mech.h"

/* A base key, and what is joined to it: data, or another key. */
struct pair {
  struct tok_object *base, *other; /* other: NULL for data */
  struct tok_span value, more;
};

/* The history of a key of two parents: what both have. */
static CK_RV common_history(struct tok_attrs *key, const struct pair *p)
{
  static const CK_ATTRIBUTE_TYPE history[] = {CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE};
  CK_RV rv = CKR_OK;
  for (size_t i = 0; rv == CKR_OK && i < sizeof history / sizeof history[0]; i++) {
    bool both =
        tok_attrs_bool(&p->base->attrs, history[i], false) && tok_attrs_bool(&p->other->attrs, history[i], false);
    rv = tok_attrs_set_bool(key, history[i], both);
  }
  return rv;
}

/* Marks what is joined of a protected parent and something else. That the other parent is protected too does not mean
 * that nobody knows its value: whoever imported it does, or whoever has the other half of a key agreement. */
static CK_RV mark(struct tok_attrs *key, const struct pair *p, bool joined)
{
  bool base = !tok_derive_readable(p->base), other = p->other != NULL && !tok_derive_readable(p->other);
  bool before =
      (base && tok_attrs_has(&p->base->attrs, TOK_A_MIXED)) || (other && tok_attrs_has(&p->other->attrs, TOK_A_MIXED));
  return before || (joined && (base || other)) ? tok_attrs_set_bool(key, TOK_A_MIXED, true) : CKR_OK;
}

/* What the template may ask, by both parents: the stricter of them counts. */
static CK_RV bind(struct tok_attrs *key, const struct tok_template *t, const struct pair *p)
{
  CK_RV rv = tok_derive_inherit(key, t, p->base, TOK_BOND_BINDS);
  if (rv != CKR_OK || p->other == NULL) return rv;
  bool sensitive = tok_attrs_bool(key, CKA_SENSITIVE, true), extractable = tok_attrs_bool(key, CKA_EXTRACTABLE, false);
  rv = tok_derive_inherit(key, t, p->other, TOK_BOND_BINDS);
  if (rv == CKR_OK && sensitive) rv = tok_attrs_set_bool(key, CKA_SENSITIVE, true);
  if (rv == CKR_OK && !extractable) rv = tok_attrs_set_bool(key, CKA_EXTRACTABLE, false);
  return rv == CKR_OK ? common_history(key, p) : rv;
}

/* Ciphers that keep a key only if nobody has related ones. DES takes seven bits of each byte, and its two or three keys
 * can be found one by one; RC4 with a known beginning gives the rest away (Fluhrer, Mantin and Shamir, 2001). */
static bool is_weak(CK_KEY_TYPE type)
{
  return type == CKK_DES || type == CKK_DES2 || type == CKK_DES3 || type == CKK_RC2 || type == CKK_RC4;
}

/* `first` and then `second` is the material; the new key takes it from the beginning. */
static CK_RV join(struct tok_attrs *key, const struct tok_template *t, const struct pair *p, bool base_first)
{
  const struct tok_span *first = base_first ? &p->value : &p->more, *second = base_first ? &p->more : &p->value;
  CK_ULONG wanted = 0, len = first->len + second->len;
  CK_RV rv = tok_derive_length(key, t, len, false, &wanted);
  if (rv != CKR_OK) return rv;
  if (wanted > len) return CKR_TEMPLATE_INCONSISTENT;
  CK_ULONG of_first = wanted < first->len ? wanted : first->len, of_second = wanted - of_first;
  rv = tok_derive_enough(p->base, p->value.len, base_first ? of_first : of_second);
  if (rv == CKR_OK && p->other != NULL) rv = tok_derive_enough(p->other, p->more.len, of_second);
  if (rv == CKR_OK) rv = mark(key, p, true);
  if (rv != CKR_OK) return rv;
  CK_BYTE *material = tok_alloc(len);
  if (material == NULL) return CKR_HOST_MEMORY;
  memcpy(material, first->data, first->len);
  memcpy(material + first->len, second->data, second->len);
  rv = tok_derive_set(key, material, wanted);
  tok_wipe_free(material, len);
  return rv;
}

static CK_RV exclusive_or(struct tok_attrs *key, const struct tok_template *t, const struct pair *p)
{
  CK_ULONG wanted = 0, len = p->value.len < p->more.len ? p->value.len : p->more.len;
  CK_RV rv = tok_derive_length(key, t, len, false, &wanted);
  if (rv != CKR_OK) return rv;
  if (wanted > len) return CKR_TEMPLATE_INCONSISTENT;
  rv = tok_derive_enough(p->base, p->value.len, wanted);
  if (rv == CKR_OK) rv = mark(key, p, false);
  if (rv != CKR_OK) return rv;
  CK_BYTE *material = tok_alloc(len);
  if (material == NULL) return CKR_HOST_MEMORY;
  for (CK_ULONG i = 0; i < len; i++) material[i] = p->value.data[i] ^ p->more.data[i];
  rv = tok_derive_set(key, material, wanted);
  tok_wipe_free(material, len);
  return rv;
}

/* `bit` is the first of the new key, 0 the most significant of the base's first byte; "it is permissible to wrap
 * around the end". */
static CK_RV extract(struct tok_attrs *key, const struct tok_template *t, const struct pair *p, CK_ULONG bit)
{
  CK_ULONG wanted = 0, len = p->value.len, from = bit / 8;
  unsigned shift = bit % 8;
  if (from >= len) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = tok_derive_length(key, t, 0, false, &wanted);
  if (rv != CKR_OK) return rv;
  if (wanted > len) return CKR_TEMPLATE_INCONSISTENT;
  rv = tok_derive_enough(p->base, len, wanted);
  if (rv == CKR_OK) rv = mark(key, p, false);
  if (rv != CKR_OK) return rv;
  CK_BYTE *material = tok_alloc(wanted);
  if (material == NULL) return CKR_HOST_MEMORY;
  for (CK_ULONG i = 0; i < wanted; i++) {
    unsigned two = (unsigned)p->value.data[(from + i) % len] << 8 | p->value.data[(from + i + 1) % len];
    material[i] = (CK_BYTE)(two >> (8 - shift));
  }
  rv = tok_derive_set(key, material, wanted);
  tok_wipe_free(material, wanted);
  return rv;
}

static CK_RV read_parameter(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR m,
                            struct pair *p, CK_ULONG *bit)
{
  if (mech->arg == CKM_EXTRACT_KEY_FROM_KEY) {
    const CK_EXTRACT_PARAMS *first = tok_mech_param(m, sizeof *first);
    if (first == NULL) return CKR_MECHANISM_PARAM_INVALID;
    *bit = *first;
    return CKR_OK;
  }
  if (mech->arg == CKM_CONCATENATE_BASE_AND_KEY) {
    const CK_OBJECT_HANDLE *handle = tok_mech_param(m, sizeof *handle);
    if (handle == NULL) return CKR_MECHANISM_PARAM_INVALID;
    CK_RV rv = tok_key_get(session, *handle, mech, CKA_DERIVE, &p->other);
    return rv == CKR_OK ? tok_derive_value(p->other, &p->more) : rv;
  }
  const CK_KEY_DERIVATION_STRING_DATA *data = tok_mech_param(m, sizeof *data);
  if (data == NULL || data->pData == NULL || data->ulLen == 0) return CKR_MECHANISM_PARAM_INVALID;
  if (data->ulLen > TOK_DERIVE_MOST) return CKR_MECHANISM_PARAM_INVALID;
  p->more = (struct tok_span){data->pData, data->ulLen};
  return CKR_OK;
}

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  (void)none;
  const struct tok_template t = {templ, count};
  struct pair p = {.base = base};
  CK_ULONG bit = 0;
  CK_RV rv = tok_derive_value(base, &p.value);
  if (rv == CKR_OK) rv = read_parameter(session, mech, mechanism, &p, &bit);
  if (rv == CKR_OK) rv = bind(key, &t, &p);
  bool stays = tok_derive_stays(base) || (p.other != NULL && tok_derive_stays(p.other));
  if (rv == CKR_OK && stays && is_weak(tok_attrs_ulong(key, CKA_KEY_TYPE, CKK_GENERIC_SECRET)))
    rv = CKR_TEMPLATE_INCONSISTENT;
  if (rv != CKR_OK) goto out;
  switch (mech->arg) {
    case CKM_XOR_BASE_AND_DATA: rv = exclusive_or(key, &t, &p); break;
    case CKM_EXTRACT_KEY_FROM_KEY: rv = extract(key, &t, &p, bit); break;
    default: rv = join(key, &t, &p, mech->arg != CKM_CONCATENATE_DATA_AND_BASE); break;
  }
out:
  tok_object_unref(p.other);
  return rv;
}

const struct tok_family tok_family_concatenate = {.derive = derive};
