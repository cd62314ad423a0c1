/* CKM_SHA256_KEY_DERIVATION and the like: the new key is the digest of the base key (PKCS #11 3.2, 6.22). */
#include <openssl/crypto.h>

#include "crypto/derive.h"
#include "crypto/hash.h"
#include "crypto/mech.h"

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  (void)session;
  (void)none;
  const struct tok_template t = {templ, count};
  enum tok_hash hash = TOK_HASH_OF(mech->arg);
  CK_BYTE digest[64];
  struct tok_span value;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = tok_derive_value(base, &value);
  if (rv == CKR_OK) rv = tok_derive_inherit(key, &t, base, TOK_BOND_DEFAULT);
  if (rv == CKR_OK) rv = tok_hash_once(hash, value.data, value.len, digest);
  if (rv == CKR_OK) rv = tok_derive_leading(key, &t, digest, tok_hash_size(hash));
  OPENSSL_cleanse(digest, sizeof digest);
  return rv;
}

const struct tok_family tok_family_hash_derive = {.derive = derive};
