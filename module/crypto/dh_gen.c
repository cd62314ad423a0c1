/* CKM_DH_PKCS_KEY_PAIR_GEN: a key pair in the domain that the public key's template gives. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/pair.h"

static CK_RV generate_pair(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                           struct tok_attrs *public_key, struct tok_attrs *private_key)
{
  (void)session;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  EVP_PKEY *domain = NULL;
  CK_RV rv = tok_pair_domain("DH", public_key, false, mech->min, mech->max, &domain);
  if (rv != CKR_OK) return rv;
  bool asked = tok_attrs_has(private_key, CKA_VALUE_BITS);
  CK_ULONG bits = tok_attrs_ulong(private_key, CKA_VALUE_BITS, 0);
  EVP_PKEY_CTX *context = NULL;
  int length = (int)bits;
  OSSL_PARAM settings[] = {OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_DH_PRIV_LEN, &length), OSSL_PARAM_construct_end()};
  rv = CKR_ATTRIBUTE_VALUE_INVALID;
  if (asked && (bits < 2 || bits >= (CK_ULONG)EVP_PKEY_get_bits(domain))) goto out;
  context = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, domain, NULL);
  rv = tok_pair_generate(context, asked ? settings : NULL, public_key, private_key);
  /* In a named group OpenSSL takes no private value that is shorter than twice the group's strength. */
  if (rv == CKR_FUNCTION_FAILED && asked) rv = CKR_ATTRIBUTE_VALUE_INVALID;
out:
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(domain);
  return rv;
}

const struct tok_family tok_family_dh_gen = {.generate_pair = generate_pair};
