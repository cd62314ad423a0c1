/* CKM_AES_KEY_GEN, CKM_GENERIC_SECRET_KEY_GEN and the other mechanisms that make a secret key of random bytes. */
#include <openssl/rand.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/secret.h"
#include "crypto/secret_material.h"

bool tok_secret_size_ok(CK_KEY_TYPE type, CK_ULONG len)
{
  struct tok_secret_range range;
  if (!tok_secret_range(type, &range)) return false;
  return len >= range.min && len <= range.max && (len - range.min) % range.step == 0;
}

CK_ULONG tok_secret_fixed_size(CK_KEY_TYPE type)
{
  struct tok_secret_range range;
  return tok_secret_range(type, &range) && range.min == range.max ? range.min : 0;
}

CK_RV tok_secret_length(const struct tok_attrs *key, CK_ULONG *len)
{
  CK_KEY_TYPE type = tok_attrs_ulong(key, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  if (type == CK_UNAVAILABLE_INFORMATION) return CKR_TEMPLATE_INCOMPLETE;
  struct tok_secret_range range;
  if (!tok_secret_range(type, &range)) return CKR_TEMPLATE_INCONSISTENT;
  CK_ULONG fixed = range.min == range.max ? range.min : 0;
  if (!tok_attrs_has(key, CKA_VALUE_LEN)) {
    *len = fixed;
    return fixed != 0 ? CKR_OK : CKR_TEMPLATE_INCOMPLETE;
  }
  *len = tok_attrs_ulong(key, CKA_VALUE_LEN, 0);
  if (fixed != 0) return *len == fixed ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
  return tok_secret_size_ok(type, *len) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

CK_RV tok_secret_put(struct tok_attrs *key, const CK_BYTE *value, CK_ULONG len)
{
  tok_attrs_remove(key, CKA_VALUE_LEN);
  return tok_attrs_set(key, CKA_VALUE, value, len);
}

static CK_RV generate(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                      struct tok_attrs *key)
{
  (void)session;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  CK_ULONG len;
  CK_RV rv = tok_secret_length(key, &len);
  if (rv != CKR_OK) return rv;
  if (len < mech->min || len > mech->max) return CKR_ATTRIBUTE_VALUE_INVALID;
  CK_BYTE *value = tok_alloc(len);
  if (value == NULL) return CKR_HOST_MEMORY;
  /* The parity of DES keys is set with the rest of the material (tok_material_complete). */
  rv = RAND_priv_bytes_ex(tok_module->crypto, value, len, 0) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
  if (rv == CKR_OK) rv = tok_secret_put(key, value, len);
  tok_wipe_free(value, len);
  return rv;
}

const struct tok_family tok_family_secret_gen = {.generate = generate};
