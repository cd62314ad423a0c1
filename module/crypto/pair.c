/* Generating key pairs, with or without domain parameters. */
#include "crypto/pair.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "core/module.h"
#include "crypto/pkey.h"

CK_RV tok_pair_generate(EVP_PKEY_CTX *context, const OSSL_PARAM *settings, struct tok_attrs *public_key,
                        struct tok_attrs *private_key)
{
  if (context == NULL) return CKR_HOST_MEMORY;
  EVP_PKEY *pkey = NULL;
  CK_RV rv = CKR_FUNCTION_FAILED;
  ERR_set_mark();
  if (EVP_PKEY_keygen_init(context) != 1) goto out;
  if (settings != NULL && EVP_PKEY_CTX_set_params(context, settings) != 1) goto out;
  if (EVP_PKEY_generate(context, &pkey) != 1) goto out;
  rv = tok_attrs_from_pkey(public_key, pkey, false);
  if (rv == CKR_OK) rv = tok_attrs_from_pkey(private_key, pkey, true);
out:
  ERR_pop_to_mark();
  EVP_PKEY_free(pkey);
  return rv;
}

/* A component of the domain as a number, put into the builder; *number is the caller's, also after an error. */
static CK_RV component(OSSL_PARAM_BLD *builder, const char *name, const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type,
                       BIGNUM **number)
{
  CK_ULONG len;
  const CK_BYTE *value = tok_attrs_get(attrs, type, &len);
  if (value == NULL) return CKR_TEMPLATE_INCOMPLETE;
  if (len == 0 || len > 4096) return CKR_ATTRIBUTE_VALUE_INVALID;
  *number = BN_bin2bn(value, (int)len, NULL);
  if (*number == NULL) return CKR_HOST_MEMORY;
  return OSSL_PARAM_BLD_push_BN(builder, name, *number) == 1 ? CKR_OK : CKR_HOST_MEMORY;
}

/* 1 < g < p - 1 and p odd: what OpenSSL does not look at when it has no q. */
static bool plausible(const BIGNUM *p, const BIGNUM *g)
{
  if (!BN_is_odd(p) || BN_is_zero(g) || BN_is_one(g)) return false;
  BIGNUM *top = BN_dup(p);
  bool less = top != NULL && BN_sub_word(top, 1) == 1 && BN_cmp(g, top) < 0;
  BN_free(top);
  return less;
}

CK_RV tok_pair_domain(const char *algorithm, const struct tok_attrs *attrs, bool subprime, CK_ULONG min, CK_ULONG max,
                      EVP_PKEY **domain)
{
  EVP_PKEY_CTX *maker = NULL, *checker = NULL;
  OSSL_PARAM *params = NULL;
  BIGNUM *p = NULL, *q = NULL, *g = NULL;
  EVP_PKEY *pkey = NULL;
  CK_RV rv = CKR_HOST_MEMORY;
  ERR_set_mark();
  OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
  if (builder == NULL) goto out;
  rv = component(builder, OSSL_PKEY_PARAM_FFC_P, attrs, CKA_PRIME, &p);
  if (rv == CKR_OK && subprime) rv = component(builder, OSSL_PKEY_PARAM_FFC_Q, attrs, CKA_SUBPRIME, &q);
  if (rv == CKR_OK) rv = component(builder, OSSL_PKEY_PARAM_FFC_G, attrs, CKA_BASE, &g);
  if (rv != CKR_OK) goto out;
  rv = CKR_ATTRIBUTE_VALUE_INVALID;
  if ((CK_ULONG)BN_num_bits(p) < min || (CK_ULONG)BN_num_bits(p) > max) goto out;
  rv = CKR_DOMAIN_PARAMS_INVALID;
  if (!plausible(p, g)) goto out;
  params = OSSL_PARAM_BLD_to_param(builder);
  maker = tok_pkey_context(algorithm);
  rv = CKR_HOST_MEMORY;
  if (params == NULL || maker == NULL) goto out;
  rv = CKR_DOMAIN_PARAMS_INVALID;
  if (EVP_PKEY_fromdata_init(maker) != 1) goto out;
  if (EVP_PKEY_fromdata(maker, &pkey, EVP_PKEY_KEY_PARAMETERS, params) != 1) goto out;
  if (subprime) {
    /* FIPS 186-4, A.2.2: sizes, and g of order q. Primes are taken for primes: testing them costs more than the key. */
    checker = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, pkey, NULL);
    if (checker == NULL || EVP_PKEY_param_check_quick(checker) != 1) goto out;
  }
  *domain = pkey;
  pkey = NULL;
  rv = CKR_OK;
out:
  ERR_pop_to_mark();
  EVP_PKEY_free(pkey);
  EVP_PKEY_CTX_free(checker);
  EVP_PKEY_CTX_free(maker);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  BN_free(p);
  BN_free(q);
  BN_free(g);
  return rv;
}
