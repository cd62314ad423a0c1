/* CKM_DH_PKCS_DERIVE (PKCS #11 3.2, 6.4.8). */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "core/module.h"
#include "crypto/derive.h"
#include "crypto/mech.h"
#include "crypto/pkey.h"

/* The other party's public value as a key of the same group. CKR_MECHANISM_PARAM_INVALID, CKR_HOST_MEMORY. */
static CK_RV read_peer(const struct tok_object *base, CK_MECHANISM_PTR m, EVP_PKEY **peer)
{
  CK_RV rv = CKR_HOST_MEMORY;
  struct tok_span prime, generator;
  prime.data = tok_attrs_get(&base->attrs, CKA_PRIME, &prime.len);
  generator.data = tok_attrs_get(&base->attrs, CKA_BASE, &generator.len);
  if (prime.data == NULL || generator.data == NULL) return CKR_KEY_TYPE_INCONSISTENT;
  if (m->pParameter == NULL || m->ulParameterLen == 0 || m->ulParameterLen > prime.len + 1)
    return CKR_MECHANISM_PARAM_INVALID;
  BIGNUM *p = BN_bin2bn(prime.data, (int)prime.len, NULL), *g = BN_bin2bn(generator.data, (int)generator.len, NULL);
  BIGNUM *y = BN_bin2bn(m->pParameter, (int)m->ulParameterLen, NULL);
  OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
  OSSL_PARAM *params = NULL;
  EVP_PKEY_CTX *make = NULL;
  if (p == NULL || g == NULL || y == NULL || build == NULL) goto out;
  if (!OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_P, p) ||
      !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_G, g) ||
      !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PUB_KEY, y))
    goto out;
  params = OSSL_PARAM_BLD_to_param(build);
  make = tok_pkey_context("DH");
  if (params == NULL || make == NULL) goto out;
  rv = CKR_MECHANISM_PARAM_INVALID;
  if (EVP_PKEY_fromdata_init(make) != 1) goto out;
  if (EVP_PKEY_fromdata(make, peer, EVP_PKEY_PUBLIC_KEY, params) == 1) rv = CKR_OK;
out:
  EVP_PKEY_CTX_free(make);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(build);
  BN_free(p);
  BN_free(g);
  BN_free(y);
  return rv;
}

/* The shared secret, as long as the prime: *z is the caller's (tok_wipe_free). OpenSSL refuses public values outside
 * [2, p - 2], and such as are not in the subgroup where its order is known. */
static CK_RV agree(EVP_PKEY *own, EVP_PKEY *peer, CK_BYTE **z, CK_ULONG *len)
{
  CK_RV rv = CKR_FUNCTION_FAILED;
  size_t size = 0;
  unsigned pad = 1;
  OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_EXCHANGE_PARAM_PAD, &pad), OSSL_PARAM_construct_end()};
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, own, NULL);
  if (ctx == NULL || EVP_PKEY_derive_init_ex(ctx, params) != 1) goto out;
  rv = CKR_MECHANISM_PARAM_INVALID;
  if (EVP_PKEY_derive_set_peer(ctx, peer) != 1 || EVP_PKEY_derive(ctx, NULL, &size) != 1) goto out;
  *z = tok_alloc(size);
  if (*z == NULL) {
    rv = CKR_HOST_MEMORY;
    goto out;
  }
  *len = size;
  size_t used = size;
  if (EVP_PKEY_derive(ctx, *z, &used) == 1 && used == size) rv = CKR_OK;
out:
  EVP_PKEY_CTX_free(ctx);
  return rv;
}

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  (void)session;
  (void)mech;
  (void)none;
  const struct tok_template t = {templ, count};
  if (base->class != CKO_PRIVATE_KEY) return CKR_KEY_TYPE_INCONSISTENT;
  EVP_PKEY *own = NULL, *peer = NULL;
  CK_BYTE *z = NULL;
  CK_ULONG len = 0, zeros = 0;
  CK_RV rv = tok_derive_inherit(key, &t, base, TOK_BOND_NONE);
  if (rv == CKR_OK) rv = tok_object_pkey(base, &own);
  if (rv == CKR_OK) rv = read_peer(base, mechanism, &peer);
  if (rv == CKR_OK) rv = agree(own, peer, &z, &len);
  if (rv != CKR_OK) goto out;
  /* Without a length the secret is the number, without leading zeros, as softoken has it: TLS needs the pre-master
   * secret so (RFC 5246, 8.1.2). With a length it is PKCS #3's string of that many bytes. */
  if (tok_template_find(&t, CKA_VALUE_LEN) == NULL)
    while (zeros + 1 < len && z[zeros] == 0) zeros++;
  rv = tok_derive_trailing(key, &t, z + zeros, len - zeros);
  if (rv == CKR_TEMPLATE_INCONSISTENT && zeros > 0) rv = tok_derive_trailing(key, &t, z, len);
out:
  tok_wipe_free(z, len);
  EVP_PKEY_free(peer);
  return rv;
}

const struct tok_family tok_family_dh_derive = {.derive = derive};
