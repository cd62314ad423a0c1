/* C_DeriveKey: PKCS #11 3.2, 5.18.5. */
#include <openssl/err.h>

#include "core/entry.h"
#include "core/module.h"
#include "crypto/derive.h"
#include "crypto/mech.h"
#include "object/attr_values.h"

/* The mechanisms that return their keys, or their bytes, in the parameter: "the parameter phKey passed to C_DeriveKey
 * is unnecessary, and should be a NULL_PTR". */
static bool makes_no_key(CK_MECHANISM_TYPE type)
{
  switch (type) {
    case CKM_SSL3_KEY_AND_MAC_DERIVE:
    case CKM_TLS_KEY_AND_MAC_DERIVE:
    case CKM_TLS12_KEY_AND_MAC_DERIVE:
    case CKM_TLS12_KEY_SAFE_DERIVE:
    case CKM_NSS_TLS_KEY_AND_MAC_DERIVE_SHA256:
    case CKM_TLS_PRF: return true;
    default: return false;
  }
}

/* What a mechanism makes. */
static CK_OBJECT_CLASS class_made(CK_MECHANISM_TYPE type)
{
  switch (type) {
    case CKM_HKDF_DATA: return CKO_DATA;
    case CKM_PUB_KEY_FROM_PRIV_KEY:
    case CKM_NSS_PUB_FROM_PRIV: return CKO_PUBLIC_KEY;
    default: return CKO_SECRET_KEY;
  }
}

/* A private key whose public half is wanted: "it can always be used with any CKO_PRIVATE_KEY object regardless of its
 * CKA_DERIVE attribute value". */
static CK_RV get_private(struct tok_session *session, CK_OBJECT_HANDLE handle, const struct tok_mech *mech,
                         struct tok_object **base)
{
  CK_RV rv = tok_key_get(session, handle, mech, 0, base);
  if (rv != CKR_OK || (*base)->class == CKO_PRIVATE_KEY) return rv;
  tok_object_unref(*base);
  *base = NULL;
  return CKR_KEY_TYPE_INCONSISTENT;
}

/* The base; for HKDF also a data object: "the exception is a data object which has the same size as the underlying hash
 * function, and which may be supplied as an input key". NSS begins the TLS 1.3 key schedule with one. */
static CK_RV get_base(struct tok_session *session, CK_OBJECT_HANDLE handle, const struct tok_mech *mech,
                      struct tok_object **base)
{
  if (class_made(mech->type) == CKO_PUBLIC_KEY) return get_private(session, handle, mech, base);
  CK_RV rv = tok_key_get(session, handle, mech, CKA_DERIVE, base);
  bool hkdf = mech->type == CKM_HKDF_DERIVE || mech->type == CKM_HKDF_DATA;
  if (rv != CKR_KEY_HANDLE_INVALID || !hkdf) return rv;
  rv = tok_object_get(session, handle, base);
  if (rv == CKR_OBJECT_HANDLE_INVALID) return CKR_KEY_HANDLE_INVALID;
  if (rv != CKR_OK || (*base)->class == CKO_DATA) return rv;
  tok_object_unref(*base);
  *base = NULL;
  return CKR_KEY_HANDLE_INVALID;
}

/* What a data object made by CKM_HKDF_DATA has in common with the key that the template describes: NSS asks for it with
 * the template of a key (tls13_HkdfExpandLabelRaw). */
static bool fits_data(CK_ATTRIBUTE_TYPE type)
{
  switch (type) {
    case CKA_TOKEN:
    case CKA_PRIVATE:
    case CKA_MODIFIABLE:
    case CKA_COPYABLE:
    case CKA_DESTROYABLE:
    case CKA_LABEL:
    case CKA_APPLICATION:
    case CKA_OBJECT_ID: return true;
    default: return false;
  }
}

static bool same(const CK_ATTRIBUTE *a, const struct tok_attr *b)
{
  if (a->ulValueLen != b->len) return false;
  for (CK_ULONG i = 0; i < b->len; i++)
    if (((const CK_BYTE *)a->pValue)[i] != b->value[i]) return false;
  return true;
}

/* The caller's template with that of the base key (CKA_DERIVE_TEMPLATE), which "will be added to attributes of the key
 * to be derived"; "if any attribute conflict occurs ... CKR_TEMPLATE_INCONSISTENT". tok_object_add sees to the same,
 * but type and length must be known here already. `more` holds the added values; the list is the caller's, to be freed
 * with tok_wipe_free(list, size of CK_ATTRIBUTE times *room). */
static CK_RV full_template(const struct tok_object *base, CK_ATTRIBUTE *given, CK_ULONG count, struct tok_attrs *more,
                           struct tok_template *t, CK_ATTRIBUTE **list, size_t *room)
{
  CK_ULONG len = 0;
  const CK_BYTE *stored = tok_attrs_get(&base->attrs, CKA_DERIVE_TEMPLATE, &len);
  CK_RV rv = stored != NULL && len > 0 ? tok_attrs_read(more, stored, len) : CKR_OK;
  if (rv != CKR_OK) return rv;
  *t = (struct tok_template){given, count};
  if (more->count == 0) return CKR_OK;
  *room = count + more->count;
  *list = tok_alloc(*room * sizeof **list);
  if (*list == NULL) return CKR_HOST_MEMORY;
  for (CK_ULONG i = 0; i < count; i++) (*list)[i] = given[i];
  for (size_t i = 0; i < more->count; i++) {
    const struct tok_attr *a = &more->list[i];
    if (tok_value_is_template(a->type)) continue;
    const CK_ATTRIBUTE *asked = tok_template_find(&(struct tok_template){given, count}, a->type);
    if (asked != NULL && !same(asked, a)) return CKR_TEMPLATE_INCONSISTENT;
    if (asked == NULL) (*list)[count++] = (CK_ATTRIBUTE){a->type, a->value, a->len};
  }
  *t = (struct tok_template){*list, count};
  return CKR_OK;
}

/* The attributes of the new object. A secret key whose template has no type is a generic secret in every derivation. */
static CK_RV read_template(struct tok_session *session, CK_OBJECT_CLASS class, const struct tok_object *base,
                           const struct tok_template *t, struct tok_attrs *key)
{
  CK_KEY_TYPE type = class == CKO_PUBLIC_KEY ? base->key_type : CK_UNAVAILABLE_INFORMATION;
  if (class != CKO_DATA) {
    if (class == CKO_SECRET_KEY && tok_template_find(t, CKA_KEY_TYPE) == NULL) type = CKK_GENERIC_SECRET;
    CK_RV rv = tok_template_read(session, TOK_DERIVE, class, type, t->list, t->count, key);
    tok_attrs_remove(key, CKA_ALWAYS_SENSITIVE);
    tok_attrs_remove(key, CKA_NEVER_EXTRACTABLE);
    return rv;
  }
  CK_ATTRIBUTE *fitting = tok_alloc((t->count + 1) * sizeof *fitting);
  if (fitting == NULL) return CKR_HOST_MEMORY;
  CK_ULONG count = 0;
  for (CK_ULONG i = 0; i < t->count; i++)
    if (fits_data(t->list[i].type)) fitting[count++] = t->list[i];
  CK_RV rv = tok_template_read(session, TOK_DERIVE, CKO_DATA, type, fitting, count, key);
  tok_wipe_free(fitting, (t->count + 1) * sizeof *fitting);
  return rv;
}

CK_RV tok_C_DeriveKey(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                      CK_OBJECT_HANDLE hBaseKey, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
                      CK_OBJECT_HANDLE_PTR phKey)
{
  (void)hSession;
  const struct tok_mech *mech = tok_mech_find(pMechanism->mechanism);
  if (mech == NULL || (mech->flags & CKF_DERIVE) == 0) return CKR_MECHANISM_INVALID;
  if (phKey == NULL && !makes_no_key(mech->type)) return CKR_ARGUMENTS_BAD;
  const CK_OBJECT_CLASS class = class_made(mech->type);
  struct tok_object *base = NULL;
  struct tok_attrs key = TOK_ATTRS_EMPTY, more = TOK_ATTRS_EMPTY;
  struct tok_template t = {NULL, 0};
  CK_ATTRIBUTE *list = NULL;
  size_t room = 0;
  bool none = false;
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  CK_RV rv = get_base(session, hBaseKey, mech, &base);
  if (rv != CKR_OK) return rv;
  rv = full_template(base, pTemplate, ulAttributeCount, &more, &t, &list, &room);
  if (rv == CKR_OK) rv = read_template(session, class, base, &t, &key);
  if (rv != CKR_OK) goto out;
  ERR_set_mark();
  rv = mech->family->derive(session, mech, pMechanism, base, t.list, t.count, &key, &none);
  ERR_pop_to_mark();
  if (rv != CKR_OK) goto out;
  if (!none) {
    /* What is no secret has no history. */
    if (class == CKO_SECRET_KEY)
      rv = tok_derive_publish(session, base, &key, &handle);
    else
      rv = tok_object_add(session, TOK_DERIVE, CK_UNAVAILABLE_INFORMATION, NULL, &key, &handle);
    if (rv != CKR_OK) tok_kbkdf_discard(session, pMechanism);
  }
  if (rv == CKR_OK && phKey != NULL) *phKey = handle;
out:
  tok_attrs_clear(&key);
  tok_attrs_clear(&more);
  tok_wipe_free(list, room * sizeof *list);
  tok_object_unref(base);
  return rv;
}
