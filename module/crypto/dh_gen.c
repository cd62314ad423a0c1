/* CKM_DH_PKCS_KEY_PAIR_GEN: a key pair in the domain that the public key's template gives. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/pair.h"

/* PKCS #11 3.2, 6.4.5: CKA_VALUE_BITS is a fact about the private value if the template did not ask for it. */
static CK_RV note_bits(struct tok_attrs *private_key)
{
  CK_ULONG len;
  const CK_BYTE *value = tok_attrs_get(private_key, CKA_VALUE, &len);
  if (value == NULL) return CKR_FUNCTION_FAILED;
  CK_ULONG bits = len * 8;
  for (CK_ULONG i = 0; i < len && value[i] == 0; i++) bits -= 8;
  if (bits != 0)
    for (CK_BYTE top = value[len - bits / 8]; (top & 0x80) == 0; top <<= 1) bits--;
  return tok_attrs_set_ulong(private_key, CKA_VALUE_BITS, bits);
}

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
  if (rv == CKR_OK) rv = note_bits(private_key);
out:
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(domain);
  return rv;
}

const struct tok_family tok_family_dh_gen = {.generate_pair = generate_pair};
