/* The derivations of SSL 3.0 and TLS 1.0 to 1.2 (PKCS #11 3.2, "SSL" and "TLS 1.2 Mechanisms"): which is which, and the
 * PRF itself. NSS's calls are in lib/ssl/ssl3con.c: ssl3_ComputeMasterSecretInt, tls_ComputeExtendedMasterSecretInt,
 * ssl3_DeriveConnectionKeys. */
#include "crypto/tls_derive.h"

#include <string.h>

#include "core/module.h"

/* clang-format off */
static const struct tok_tls_kind kinds[] = {
  /* mechanism                                  step                     version           dh     safe */
  {CKM_SSL3_MASTER_KEY_DERIVE,                  TOK_TLS_MASTER,          TOK_SSL3,         false, false},
  {CKM_SSL3_MASTER_KEY_DERIVE_DH,               TOK_TLS_MASTER,          TOK_SSL3,         true,  false},
  {CKM_TLS_MASTER_KEY_DERIVE,                   TOK_TLS_MASTER,          TOK_TLS10,        false, false},
  {CKM_TLS_MASTER_KEY_DERIVE_DH,                TOK_TLS_MASTER,          TOK_TLS10,        true,  false},
  {CKM_TLS12_MASTER_KEY_DERIVE,                 TOK_TLS_MASTER,          TOK_TLS12,        false, false},
  {CKM_TLS12_MASTER_KEY_DERIVE_DH,              TOK_TLS_MASTER,          TOK_TLS12,        true,  false},
  {CKM_NSS_TLS_MASTER_KEY_DERIVE_SHA256,        TOK_TLS_MASTER,          TOK_TLS12_SHA256, false, false},
  {CKM_NSS_TLS_MASTER_KEY_DERIVE_DH_SHA256,     TOK_TLS_MASTER,          TOK_TLS12_SHA256, true,  false},
  {CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE,        TOK_TLS_EXTENDED_MASTER, TOK_TLS12,        false, false},
  {CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH,     TOK_TLS_EXTENDED_MASTER, TOK_TLS12,        true,  false},
  {CKM_NSS_TLS_EXTENDED_MASTER_KEY_DERIVE,      TOK_TLS_EXTENDED_MASTER, TOK_TLS12,        false, false},
  {CKM_NSS_TLS_EXTENDED_MASTER_KEY_DERIVE_DH,   TOK_TLS_EXTENDED_MASTER, TOK_TLS12,        true,  false},
  {CKM_SSL3_KEY_AND_MAC_DERIVE,                 TOK_TLS_KEYS,            TOK_SSL3,         false, false},
  {CKM_TLS_KEY_AND_MAC_DERIVE,                  TOK_TLS_KEYS,            TOK_TLS10,        false, false},
  {CKM_TLS12_KEY_AND_MAC_DERIVE,                TOK_TLS_KEYS,            TOK_TLS12,        false, false},
  {CKM_TLS12_KEY_SAFE_DERIVE,                   TOK_TLS_KEYS,            TOK_TLS12,        false, true},
  {CKM_NSS_TLS_KEY_AND_MAC_DERIVE_SHA256,       TOK_TLS_KEYS,            TOK_TLS12_SHA256, false, false},
  {CKM_TLS_KDF,                                 TOK_TLS_KDF,             TOK_TLS12,        true,  false},
  {CKM_TLS12_KDF,                               TOK_TLS_KDF,             TOK_TLS12,        true,  false},
  {CKM_TLS_PRF,                                 TOK_TLS_PRF,             TOK_TLS10,        true,  false},
};
/* clang-format on */

CK_RV tok_tls_randoms(const CK_SSL3_RANDOM_DATA *r, struct tok_span *client, struct tok_span *server)
{
  if (r->pClientRandom == NULL || r->pServerRandom == NULL) return CKR_MECHANISM_PARAM_INVALID;
  if (r->ulClientRandomLen != TOK_TLS_RANDOM || r->ulServerRandomLen != TOK_TLS_RANDOM)
    return CKR_MECHANISM_PARAM_INVALID;
  *client = (struct tok_span){r->pClientRandom, TOK_TLS_RANDOM};
  *server = (struct tok_span){r->pServerRandom, TOK_TLS_RANDOM};
  return CKR_OK;
}

CK_RV tok_tls_output(const struct tok_tls_call *c, enum tok_hash hash, const char *label, struct tok_span r1,
                     struct tok_span r2, CK_BYTE *out, CK_ULONG len)
{
  if (c->kind->version == TOK_SSL3) return tok_ssl3_prf(c->secret, r1, r2, out, len);
  const struct tok_span seed[] = {
      {(const CK_BYTE *)label, strlen(label)},
      r1, r2
  };
  return tok_tls_prf(hash, c->secret, seed, 3, out, len);
}

CK_RV tok_tls_default(const struct tok_tls_call *c, struct tok_attrs *key, CK_ATTRIBUTE_TYPE type, bool value)
{
  return tok_template_find(&c->t, type) == NULL ? tok_attrs_set_bool(key, type, value) : CKR_OK;
}

static bool is_span(const void *data, CK_ULONG len)
{
  return len <= TOK_TLS_MOST && (data != NULL || len == 0);
}

/* CKM_TLS_KDF: the exporter of RFC 5705. "If the original key has its CKA_SENSITIVE attribute set to CK_TRUE, so does
 * the derived key." */
static CK_RV exporter(const struct tok_tls_call *c)
{
  const CK_TLS_KDF_PARAMS *p = tok_mech_param(c->mechanism, sizeof *p);
  enum tok_hash hash;
  if (p == NULL || !tok_tls_prf_of(p->prfMechanism, &hash)) return CKR_MECHANISM_PARAM_INVALID;
  const CK_SSL3_RANDOM_DATA *r = &p->RandomInfo;
  if (!is_span(p->pLabel, p->ulLabelLength) || !is_span(r->pClientRandom, r->ulClientRandomLen) ||
      !is_span(r->pServerRandom, r->ulServerRandomLen))
    return CKR_MECHANISM_PARAM_INVALID;
  /* The context is preceded by its length in two bytes; an empty context is not the same as none. */
  if (!is_span(p->pContextData, p->ulContextDataLength) || p->ulContextDataLength > 0xffff)
    return CKR_MECHANISM_PARAM_INVALID;
  const CK_BYTE length[2] = {(CK_BYTE)(p->ulContextDataLength >> 8), (CK_BYTE)p->ulContextDataLength};
  const struct tok_span seed[] = {
      {p->pLabel,        p->ulLabelLength      },
      {r->pClientRandom, r->ulClientRandomLen  },
      {r->pServerRandom, r->ulServerRandomLen  },
      {length,           sizeof length         },
      {p->pContextData,  p->ulContextDataLength},
  };
  CK_ULONG len = 0;
  CK_RV rv = hash == TOK_HASH_NONE ? tok_derive_halves(c->base) : CKR_OK;
  if (rv == CKR_OK) rv = tok_derive_inherit(c->key, &c->t, c->base, TOK_BOND_BINDS);
  if (rv == CKR_OK) rv = tok_derive_length(c->key, &c->t, 0, false, &len);
  if (rv != CKR_OK) return rv;
  CK_BYTE *out = tok_alloc(len);
  if (out == NULL) return CKR_HOST_MEMORY;
  rv = tok_tls_prf(hash, c->secret, seed, p->pContextData != NULL ? 5 : 3, out, len);
  if (rv == CKR_OK) rv = tok_derive_set(c->key, out, len);
  tok_wipe_free(out, len);
  return rv;
}

/* CKM_TLS_PRF: the output goes to the caller, in clear. So not from a key whose value, and that of what is derived
 * from it, may not be seen: with the label "key expansion" it would be the keys of the connection. */
static CK_RV prf(const struct tok_tls_call *c)
{
  const CK_TLS_PRF_PARAMS *p = tok_mech_param(c->mechanism, sizeof *p);
  if (p == NULL || p->pOutput == NULL || p->pulOutputLen == NULL) return CKR_MECHANISM_PARAM_INVALID;
  if (*p->pulOutputLen == 0 || *p->pulOutputLen > TOK_TLS_MOST) return CKR_MECHANISM_PARAM_INVALID;
  if (!is_span(p->pSeed, p->ulSeedLen) || !is_span(p->pLabel, p->ulLabelLen)) return CKR_MECHANISM_PARAM_INVALID;
  if (!tok_derive_readable(c->base)) return CKR_KEY_FUNCTION_NOT_PERMITTED;
  const struct tok_span seed[] = {
      {p->pLabel, p->ulLabelLen},
      {p->pSeed,  p->ulSeedLen }
  };
  return tok_tls_prf(TOK_HASH_NONE, c->secret, seed, 2, p->pOutput, *p->pulOutputLen);
}

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  const struct tok_tls_kind *kind = kinds;
  while (kind->mechanism != mech->type) kind++;
  struct tok_tls_call c = {
      session, kind, mechanism, base, {NULL,  0    },
          {templ, count},
          key
  };
  CK_RV rv = tok_derive_value(base, &c.secret);
  if (rv != CKR_OK) return rv;
  if (!kind->dh && c.secret.len != TOK_TLS_SECRET) return CKR_KEY_SIZE_RANGE;
  if (kind->version == TOK_TLS10) rv = tok_derive_halves(base);
  if (rv != CKR_OK) return rv;
  switch (kind->step) {
    case TOK_TLS_MASTER: return tok_tls_master(&c);
    case TOK_TLS_EXTENDED_MASTER: return tok_tls_extended_master(&c);
    case TOK_TLS_KEYS: *none = true; return tok_tls_keys(&c);
    case TOK_TLS_KDF: return exporter(&c);
    case TOK_TLS_PRF: *none = true; return prf(&c);
  }
  return CKR_MECHANISM_INVALID;
}

const struct tok_family tok_family_tls_derive = {.derive = derive};
