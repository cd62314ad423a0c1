/* CKM_SSL3_PRE_MASTER_KEY_GEN and CKM_TLS_PRE_MASTER_KEY_GEN: 48 bytes, the first two the client's version (PKCS #11
 * 3.2, "Pre-master key generation"). */
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/tls_prf.h"

static CK_RV generate(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                      struct tok_attrs *key)
{
  (void)session;
  (void)mech;
  CK_BYTE secret[TOK_TLS_SECRET];
  const CK_VERSION *version = tok_mech_param(mechanism, sizeof *version);
  if (version == NULL) return CKR_MECHANISM_PARAM_INVALID;
  if (tok_attrs_ulong(key, CKA_KEY_TYPE, CKK_GENERIC_SECRET) != CKK_GENERIC_SECRET) return CKR_TEMPLATE_INCONSISTENT;
  if (tok_attrs_ulong(key, CKA_VALUE_LEN, sizeof secret) != sizeof secret) return CKR_TEMPLATE_INCONSISTENT;
  if (RAND_priv_bytes_ex(tok_module->crypto, secret + 2, sizeof secret - 2, 0) != 1) return CKR_FUNCTION_FAILED;
  secret[0] = version->major;
  secret[1] = version->minor;
  CK_RV rv = tok_derive_set(key, secret, sizeof secret);
  OPENSSL_cleanse(secret, sizeof secret);
  /* NSS asks for CKA_SIGN and CKA_ENCRYPT only (PK11_TokenKeyGen) and derives from it. */
  return rv == CKR_OK ? tok_attrs_set_bool(key, CKA_DERIVE, true) : rv;
}

const struct tok_family tok_family_tls_gen = {.generate = generate};
