/* From the master secret to the keys of a connection: CKM_TLS12_KEY_AND_MAC_DERIVE and the like. */
#include <openssl/crypto.h>
#include <string.h>

#include "crypto/tls_derive.h"

/* The key block of RFC 5246, 6.3: two MAC keys, two cipher keys, two IVs, the client's first. The largest in use is
 * that of SHA-384 with AES-256-CBC: 2 * (48 + 32 + 16). */
#define MOST_EACH 64
#define KEYS 4

/* The parameter, of one structure or the other. */
struct parameter {
  CK_ULONG mac, key, iv; /* bytes */
  struct tok_span client, server;
  CK_SSL3_KEY_MAT_OUT_PTR out;
  enum tok_hash hash;
};

static bool bytes_of(CK_ULONG bits, CK_ULONG *bytes)
{
  *bytes = bits / 8;
  return bits % 8 == 0 && *bytes <= MOST_EACH;
}

static CK_RV read_parameter(const struct tok_tls_call *c, struct parameter *p)
{
  CK_SSL3_KEY_MAT_PARAMS common;
  p->hash = c->kind->version == TOK_TLS12_SHA256 ? TOK_SHA256 : TOK_HASH_NONE;
  if (c->kind->version == TOK_TLS12) {
    const CK_TLS12_KEY_MAT_PARAMS *given = tok_mech_param(c->mechanism, sizeof *given);
    if (given == NULL) return CKR_MECHANISM_PARAM_INVALID;
    p->hash = tok_hash_by_mechanism(given->prfHashMechanism);
    if (p->hash == TOK_HASH_NONE) return CKR_MECHANISM_PARAM_INVALID;
    common = (CK_SSL3_KEY_MAT_PARAMS){.ulMacSizeInBits = given->ulMacSizeInBits,
                                      .ulKeySizeInBits = given->ulKeySizeInBits,
                                      .ulIVSizeInBits = given->ulIVSizeInBits,
                                      .bIsExport = given->bIsExport,
                                      .RandomInfo = given->RandomInfo,
                                      .pReturnedKeyMaterial = given->pReturnedKeyMaterial};
  } else {
    const CK_SSL3_KEY_MAT_PARAMS *given = tok_mech_param(c->mechanism, sizeof *given);
    if (given == NULL) return CKR_MECHANISM_PARAM_INVALID;
    common = *given;
  }
  /* Export ciphers must not be used since TLS 1.1, and nothing has them any more; softoken refuses them too. */
  if (common.bIsExport || common.pReturnedKeyMaterial == NULL) return CKR_MECHANISM_PARAM_INVALID;
  if (!bytes_of(common.ulMacSizeInBits, &p->mac) || !bytes_of(common.ulKeySizeInBits, &p->key))
    return CKR_MECHANISM_PARAM_INVALID;
  /* CKM_TLS12_KEY_SAFE_DERIVE: "the ulIvSizeInBits field ... is ignored and treated as 0". */
  if (!bytes_of(c->kind->safe ? 0 : common.ulIVSizeInBits, &p->iv)) return CKR_MECHANISM_PARAM_INVALID;
  p->out = common.pReturnedKeyMaterial;
  if (p->iv > 0 && (p->out->pIVClient == NULL || p->out->pIVServer == NULL)) return CKR_MECHANISM_PARAM_INVALID;
  if (p->mac + p->key == 0) return CKR_MECHANISM_PARAM_INVALID;
  return tok_tls_randoms(&common.RandomInfo, &p->client, &p->server);
}

/* A cipher key: typed by the template, "by default ... valid for encryption, decryption, and derivation operations". */
static CK_RV make_cipher_key(const struct tok_tls_call *c, struct tok_attrs *key)
{
  static const CK_ATTRIBUTE_TYPE uses[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_DERIVE};
  CK_RV rv = tok_attrs_copy(key, c->key);
  for (size_t i = 0; rv == CKR_OK && i < sizeof uses / sizeof uses[0]; i++) rv = tok_tls_default(c, key, uses[i], true);
  return rv;
}

/* A MAC key: a generic secret "valid for signing, verification, and derivation operations". */
static CK_RV make_mac_key(const struct tok_tls_call *c, struct tok_attrs *key)
{
  static const struct {
    CK_ATTRIBUTE_TYPE type;
    bool value;
  } uses[] = {
      {CKA_SIGN,    true },
      {CKA_VERIFY,  true },
      {CKA_DERIVE,  true },
      {CKA_ENCRYPT, false},
      {CKA_DECRYPT, false},
      {CKA_WRAP,    false},
      {CKA_UNWRAP,  false}
  };
  CK_RV rv = tok_attrs_copy(key, c->key);
  for (size_t i = 0; rv == CKR_OK && i < sizeof uses / sizeof uses[0]; i++)
    rv = tok_attrs_set_bool(key, uses[i].type, uses[i].value);
  return rv == CKR_OK ? tok_attrs_set_ulong(key, CKA_KEY_TYPE, CKK_GENERIC_SECRET) : rv;
}

/* Publishes the four keys, all or none. A cipher key that has no length is left out; a MAC key is not: with an AEAD
 * suite NSS takes the MAC keys' handles all the same, and gives up if there are none (ssl3con.c,
 * ssl3_DeriveConnectionKeys). */
static CK_RV publish(const struct tok_tls_call *c, const struct parameter *p, const CK_BYTE *block,
                     CK_OBJECT_HANDLE *handles)
{
  CK_RV rv = CKR_OK;
  for (size_t i = 0; rv == CKR_OK && i < KEYS; i++) {
    bool mac = i < 2;
    CK_ULONG len = mac ? p->mac : p->key;
    struct tok_attrs key = TOK_ATTRS_EMPTY;
    if (len == 0 && !mac) continue;
    rv = mac ? make_mac_key(c, &key) : make_cipher_key(c, &key);
    if (rv == CKR_OK) rv = tok_derive_set(&key, block, len);
    if (rv == CKR_OK) rv = tok_derive_publish(c->session, c->base, &key, &handles[i]);
    tok_attrs_clear(&key);
    block += len;
  }
  if (rv != CKR_OK) tok_derive_discard(c->session, handles, KEYS);
  return rv;
}

/* The length that the template tells or implies must be that of the parameter, except that NSS names no cipher at all
 * for a suite without one. */
static CK_RV check_length(const struct tok_tls_call *c, const struct parameter *p)
{
  CK_ULONG len = 0;
  if (p->key == 0) return CKR_OK;
  CK_RV rv = tok_derive_length(c->key, &c->t, p->key, true, &len);
  return rv == CKR_OK && len != p->key ? CKR_TEMPLATE_INCONSISTENT : rv;
}

CK_RV tok_tls_keys(const struct tok_tls_call *c)
{
  struct parameter p;
  CK_BYTE block[6 * MOST_EACH];
  CK_OBJECT_HANDLE handles[KEYS] = {0};
  CK_RV rv = read_parameter(c, &p);
  if (rv == CKR_OK) rv = check_length(c, &p);
  /* "All four keys inherit ... The template provided to C_DeriveKey may not specify values for any of these attributes
   * which differ from those held by the base key." */
  if (rv == CKR_OK) rv = tok_derive_inherit(c->key, &c->t, c->base, TOK_BOND_EQUAL);
  if (rv != CKR_OK) return rv;
  CK_ULONG len = 2 * (p.mac + p.key + p.iv);
  rv = tok_tls_output(c, p.hash, "key expansion", p.server, p.client, block, len);
  if (rv == CKR_OK) rv = publish(c, &p, block, handles);
  if (rv == CKR_OK) {
    p.out->hClientMacSecret = handles[0];
    p.out->hServerMacSecret = handles[1];
    p.out->hClientKey = handles[2];
    p.out->hServerKey = handles[3];
    const CK_BYTE *ivs = block + 2 * (p.mac + p.key);
    if (p.iv > 0) {
      memcpy(p.out->pIVClient, ivs, p.iv);
      memcpy(p.out->pIVServer, ivs + p.iv, p.iv);
    }
  }
  OPENSSL_cleanse(block, sizeof block);
  return rv;
}
