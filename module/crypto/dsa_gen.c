/* CKM_DSA_KEY_PAIR_GEN: a key pair in the domain that the public key's template gives. */
#include <openssl/evp.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/pair.h"

static CK_RV generate_pair(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                           struct tok_attrs *public_key, struct tok_attrs *private_key)
{
  (void)session;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  EVP_PKEY *domain = NULL;
  CK_RV rv = tok_pair_domain("DSA", public_key, true, mech->min, mech->max, &domain);
  if (rv != CKR_OK) return rv;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, domain, NULL);
  rv = tok_pair_generate(context, NULL, public_key, private_key);
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(domain);
  return rv;
}

const struct tok_family tok_family_dsa_gen = {.generate_pair = generate_pair};
