/* CKM_RSA_PKCS_KEY_PAIR_GEN and CKM_RSA_X9_31_KEY_PAIR_GEN. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/pair.h"
#include "crypto/pkey.h"

/* The public exponent of the template; without one, the usual F4. Odd, at least 3, and no longer than OpenSSL will later
 * compute with (OPENSSL_RSA_MAX_PUBEXP_BITS for large moduli; FIPS 186-4 has 256 bits as the limit). */
static CK_RV exponent(const struct tok_attrs *key, CK_ULONG bits, BIGNUM **number)
{
  static const CK_BYTE f4[] = {1, 0, 1};
  CK_ULONG len;
  const CK_BYTE *value = tok_attrs_get(key, CKA_PUBLIC_EXPONENT, &len);
  if (value == NULL) value = f4, len = sizeof f4;
  if (len > bits / 8) return CKR_ATTRIBUTE_VALUE_INVALID;
  *number = BN_bin2bn(value, (int)len, NULL);
  if (*number == NULL) return CKR_HOST_MEMORY;
  if (!BN_is_odd(*number) || BN_is_one(*number)) return CKR_ATTRIBUTE_VALUE_INVALID;
  return BN_num_bits(*number) <= (bits > 3072 ? 64 : 256) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

static CK_RV generate_pair(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                           struct tok_attrs *public_key, struct tok_attrs *private_key)
{
  (void)session;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  if (!tok_attrs_has(public_key, CKA_MODULUS_BITS)) return CKR_TEMPLATE_INCOMPLETE;
  CK_ULONG bits = tok_attrs_ulong(public_key, CKA_MODULUS_BITS, 0);
  if (bits < mech->min || bits > mech->max || bits % 2 != 0) return CKR_ATTRIBUTE_VALUE_INVALID;

  EVP_PKEY_CTX *context = NULL;
  OSSL_PARAM_BLD *builder = NULL;
  OSSL_PARAM *settings = NULL;
  BIGNUM *e = NULL;
  CK_RV rv = exponent(public_key, bits, &e);
  if (rv != CKR_OK) goto out;
  /* X9.31's strong primes: OpenSSL makes them so (FIPS 186-4, B.3.6: p - 1 and p + 1 have large prime factors) for moduli
   * of 2048 bits and more and exponents above 16 bits, and by an older method otherwise. X9.31 has moduli of 1024 + 256 s. */
  rv = CKR_ATTRIBUTE_VALUE_INVALID;
  if (mech->type == CKM_RSA_X9_31_KEY_PAIR_GEN && (bits % 256 != 0 || BN_num_bits(e) <= 16)) goto out;
  rv = CKR_HOST_MEMORY;
  builder = OSSL_PARAM_BLD_new();
  if (builder == NULL || OSSL_PARAM_BLD_push_size_t(builder, OSSL_PKEY_PARAM_RSA_BITS, bits) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) != 1)
    goto out;
  settings = OSSL_PARAM_BLD_to_param(builder);
  if (settings == NULL) goto out;
  context = tok_pkey_context("RSA");
  rv = tok_pair_generate(context, settings, public_key, private_key);
out:
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(settings);
  OSSL_PARAM_BLD_free(builder);
  BN_free(e);
  return rv;
}

const struct tok_family tok_family_rsa_gen = {.generate_pair = generate_pair};
