/* CKM_PUB_KEY_FROM_PRIV_KEY and NSS's CKM_NSS_PUB_FROM_PRIV: the public half of a private key, as an object (PKCS #11
 * 3.2, "Public key from private key"; PK11_DerivePubKeyFromPrivKey). */
#include <openssl/bn.h>

#include "core/module.h"
#include "crypto/derive.h"
#include "crypto/mech.h"
#include "crypto/pkey.h"

/* What the public key has from the private one where the template is silent. */
static const struct {
  CK_ATTRIBUTE_TYPE type, from;
} copied[] = {
    {CKA_ENCRYPT,            CKA_DECRYPT           },
    {CKA_VERIFY,             CKA_SIGN              },
    {CKA_VERIFY_RECOVER,     CKA_SIGN_RECOVER      },
    {CKA_WRAP,               CKA_UNWRAP            },
    {CKA_ENCAPSULATE,        CKA_DECAPSULATE       },
    {CKA_DERIVE,             CKA_DERIVE            },
    {CKA_ID,                 CKA_ID                },
    {CKA_START_DATE,         CKA_START_DATE        },
    {CKA_END_DATE,           CKA_END_DATE          },
    {CKA_SUBJECT,            CKA_SUBJECT           },
    {CKA_ALLOWED_MECHANISMS, CKA_ALLOWED_MECHANISMS},
    {CKA_EC_PARAMS,          CKA_EC_PARAMS         }, /* as written there: NSS has its own OID of X25519 */
};

/* DSA and Diffie-Hellman: the domain parameters, and y = g^x mod p, which is not kept with a private key. */
static CK_RV set_power(struct tok_attrs *key, const struct tok_object *base)
{
  static const CK_ATTRIBUTE_TYPE domain[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE};
  CK_RV rv = CKR_OK;
  struct tok_span p, g, x;
  CK_BYTE *value = NULL;
  p.data = tok_attrs_get(&base->attrs, CKA_PRIME, &p.len);
  g.data = tok_attrs_get(&base->attrs, CKA_BASE, &g.len);
  x.data = tok_attrs_get(&base->attrs, CKA_VALUE, &x.len);
  if (p.data == NULL || g.data == NULL || x.data == NULL) return CKR_KEY_TYPE_INCONSISTENT;
  for (size_t i = 0; rv == CKR_OK && i < sizeof domain / sizeof domain[0]; i++) {
    CK_ULONG len = 0;
    const CK_BYTE *part = tok_attrs_get(&base->attrs, domain[i], &len);
    if (part != NULL && len > 0) rv = tok_attrs_set(key, domain[i], part, len);
  }
  if (rv != CKR_OK) return rv;
  BN_CTX *ctx = BN_CTX_secure_new_ex(tok_module->crypto);
  BIGNUM *np = BN_bin2bn(p.data, (int)p.len, NULL), *ng = BN_bin2bn(g.data, (int)g.len, NULL);
  BIGNUM *nx = BN_bin2bn(x.data, (int)x.len, NULL), *y = BN_new();
  value = tok_alloc(p.len);
  rv = CKR_HOST_MEMORY;
  if (ctx == NULL || np == NULL || ng == NULL || nx == NULL || y == NULL || value == NULL) goto out;
  BN_set_flags(nx, BN_FLG_CONSTTIME);
  rv = CKR_FUNCTION_FAILED;
  if (BN_mod_exp(y, ng, nx, np, ctx) != 1) goto out;
  rv = tok_attrs_set(key, CKA_VALUE, value, (CK_ULONG)BN_bn2bin(y, value));
out:
  tok_wipe_free(value, p.len);
  BN_free(y);
  BN_clear_free(nx);
  BN_free(ng);
  BN_free(np);
  BN_CTX_free(ctx);
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
  EVP_PKEY *pkey = NULL;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = tok_object_pkey(base, &pkey);
  if (rv != CKR_OK) return rv;
  bool power = base->key_type == CKK_DSA || base->key_type == CKK_DH;
  rv = power ? set_power(key, base) : tok_attrs_from_pkey(key, pkey, false);
  for (size_t i = 0; rv == CKR_OK && i < sizeof copied / sizeof copied[0]; i++) {
    CK_ULONG len = 0;
    const CK_BYTE *value = tok_attrs_get(&base->attrs, copied[i].from, &len);
    if (value != NULL && tok_template_find(&t, copied[i].type) == NULL)
      rv = tok_attrs_set(key, copied[i].type, value, len);
  }
  return rv;
}

const struct tok_family tok_family_pub_derive = {.derive = derive};
