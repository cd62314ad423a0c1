/* From the pre-master secret to the master secret. */
#include <openssl/crypto.h>

#include "crypto/tls_derive.h"

/* What may be done with the master secret of TLS 1.2: "the mechanism also contributes the CKA_ALLOWED_MECHANISMS
 * attribute consisting only of ..."; the last two are what NSS uses besides. */
static const CK_MECHANISM_TYPE allowed[] = {CKM_TLS12_KEY_AND_MAC_DERIVE,
                                            CKM_TLS12_KEY_SAFE_DERIVE,
                                            CKM_TLS_KDF,
                                            CKM_TLS_MAC,
                                            CKM_TLS12_KDF,
                                            CKM_TLS12_MAC,
                                            CKM_NSS_TLS_PRF_GENERAL_SHA256,
                                            CKM_NSS_TLS_KEY_AND_MAC_DERIVE_SHA256};

/* The version in the pre-master secret, for the caller. Its two bytes are the only ones of a key that this token gives
 * away, and rotating the key (CKM_EXTRACT_KEY_FROM_KEY) would bring out all others; so only those of a key that was
 * made as a pre-master secret here, or that can be read anyway, as the one that a TLS server has unwrapped. Otherwise
 * FF FF, as softoken has it for derived keys. */
static void tell_version(const struct tok_tls_call *c, CK_VERSION *version)
{
  CK_MECHANISM_TYPE made_by = tok_attrs_ulong(&c->base->attrs, CKA_KEY_GEN_MECHANISM, CK_UNAVAILABLE_INFORMATION);
  bool made_here = tok_attrs_bool(&c->base->attrs, CKA_LOCAL, false) &&
                   (made_by == CKM_SSL3_PRE_MASTER_KEY_GEN || made_by == CKM_TLS_PRE_MASTER_KEY_GEN);
  bool tell = made_here || tok_derive_readable(c->base);
  version->major = tell ? c->secret.data[0] : 0xff;
  version->minor = tell ? c->secret.data[1] : 0xff;
}

/* Checks of template and version pointer, before anything is computed. */
static CK_RV check(const struct tok_tls_call *c, const CK_VERSION *version)
{
  CK_ULONG len = 0;
  /* "The pVersion field of the structure must be set to NULL_PTR since the version number is not embedded in the
   * pre_master key as it is for RSA-like cipher suites." */
  if (c->kind->dh && version != NULL) return CKR_MECHANISM_PARAM_INVALID;
  if (tok_attrs_ulong(c->key, CKA_KEY_TYPE, CKK_GENERIC_SECRET) != CKK_GENERIC_SECRET) return CKR_TEMPLATE_INCONSISTENT;
  CK_RV rv = tok_derive_length(c->key, &c->t, TOK_TLS_SECRET, false, &len);
  if (rv == CKR_OK && len != TOK_TLS_SECRET) rv = CKR_TEMPLATE_INCONSISTENT;
  return rv == CKR_OK ? tok_derive_inherit(c->key, &c->t, c->base, TOK_BOND_DEFAULT) : rv;
}

/* The new key: the secret, and what it is for. NSS asks for signing and verifying (the Finished messages) and derives
 * all the same; `hash` is TOK_HASH_NONE before TLS 1.2. */
static CK_RV set(const struct tok_tls_call *c, const CK_BYTE *secret, enum tok_hash hash)
{
  CK_RV rv = tok_derive_set(c->key, secret, TOK_TLS_SECRET);
  if (rv == CKR_OK) rv = tok_tls_default(c, c->key, CKA_DERIVE, true);
  if (c->kind->version == TOK_SSL3) return rv;
  if (rv == CKR_OK) rv = tok_tls_default(c, c->key, CKA_SIGN, true);
  if (rv == CKR_OK) rv = tok_tls_default(c, c->key, CKA_VERIFY, true);
  if (rv != CKR_OK || hash == TOK_HASH_NONE) return rv;
  if (tok_template_find(&c->t, CKA_ALLOWED_MECHANISMS) != NULL) return CKR_OK;
  return tok_attrs_set(c->key, CKA_ALLOWED_MECHANISMS, allowed, sizeof allowed);
}

CK_RV tok_tls_master(const struct tok_tls_call *c)
{
  CK_SSL3_RANDOM_DATA randoms;
  CK_VERSION *version = NULL;
  enum tok_hash hash = c->kind->version == TOK_TLS12_SHA256 ? TOK_SHA256 : TOK_HASH_NONE;
  if (c->kind->version == TOK_TLS12) {
    const CK_TLS12_MASTER_KEY_DERIVE_PARAMS *p = tok_mech_param(c->mechanism, sizeof *p);
    if (p == NULL) return CKR_MECHANISM_PARAM_INVALID;
    hash = tok_hash_by_mechanism(p->prfHashMechanism);
    if (hash == TOK_HASH_NONE) return CKR_MECHANISM_PARAM_INVALID;
    randoms = p->RandomInfo;
    version = p->pVersion;
  } else {
    const CK_SSL3_MASTER_KEY_DERIVE_PARAMS *p = tok_mech_param(c->mechanism, sizeof *p);
    if (p == NULL) return CKR_MECHANISM_PARAM_INVALID;
    randoms = p->RandomInfo;
    version = p->pVersion;
  }
  CK_BYTE secret[TOK_TLS_SECRET];
  struct tok_span client, server;
  CK_RV rv = tok_tls_randoms(&randoms, &client, &server);
  if (rv == CKR_OK) rv = check(c, version);
  if (rv != CKR_OK) return rv;
  rv = tok_tls_output(c, hash, "master secret", client, server, secret, sizeof secret);
  if (rv == CKR_OK) rv = set(c, secret, hash);
  if (rv == CKR_OK && version != NULL) tell_version(c, version);
  OPENSSL_cleanse(secret, sizeof secret);
  return rv;
}

/* RFC 7627. With CKM_TLS_PRF the session hash is MD5 and SHA-1 one after the other. */
CK_RV tok_tls_extended_master(const struct tok_tls_call *c)
{
  const CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS *p = tok_mech_param(c->mechanism, sizeof *p);
  enum tok_hash hash;
  if (p == NULL || !tok_tls_prf_of(p->prfHashMechanism, &hash)) return CKR_MECHANISM_PARAM_INVALID;
  CK_ULONG size = hash != TOK_HASH_NONE ? tok_hash_size(hash) : tok_hash_size(TOK_MD5) + tok_hash_size(TOK_SHA1);
  if (p->pSessionHash == NULL || p->ulSessionHashLen != size) return CKR_MECHANISM_PARAM_INVALID;
  CK_BYTE secret[TOK_TLS_SECRET];
  const struct tok_span session_hash = {p->pSessionHash, size}, nothing = {(const CK_BYTE *)"", 0};
  CK_RV rv = check(c, p->pVersion);
  if (rv != CKR_OK) return rv;
  rv = tok_tls_output(c, hash, "extended master secret", session_hash, nothing, secret, sizeof secret);
  if (rv == CKR_OK) rv = set(c, secret, hash);
  if (rv == CKR_OK && p->pVersion != NULL) tell_version(c, p->pVersion);
  OPENSSL_cleanse(secret, sizeof secret);
  return rv;
}
