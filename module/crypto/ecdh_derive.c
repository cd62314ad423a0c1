/* CKM_ECDH1_DERIVE and CKM_ECDH1_COFACTOR_DERIVE (PKCS #11 3.2, 6.3.20 and 6.3.21), also for X25519 and X448. */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "core/module.h"
#include "crypto/derive.h"
#include "crypto/hash.h"
#include "crypto/mech.h"
#include "crypto/pkey.h"

/* --- the other party's point ------------------------------------------------------------------------------------ */

/* The contents of a DER OCTET STRING that fills `in`, or `in` itself if it is none. */
static struct tok_span octets(struct tok_span in)
{
  CK_ULONG head = 2, len = in.len >= 2 ? in.data[1] : 0;
  if (in.len < 2 || in.data[0] != 0x04) return in;
  if (len == 0x81 && in.len >= 3) {
    head = 3;
    len = in.data[2];
  } else if (len >= 0x80) {
    return in;
  }
  return in.len - head == len ? (struct tok_span){in.data + head, len} : in;
}

/* A point of a curve with coordinates of `size` bytes, uncompressed or compressed (X9.62, A.5.2). */
static bool is_point(struct tok_span s, CK_ULONG size)
{
  if (s.len == 2 * size + 1) return s.data[0] == 0x04;
  return s.len == size + 1 && (s.data[0] == 0x02 || s.data[0] == 0x03);
}

/* The other party's key on the curve of ours. "A token MUST be able to accept this value encoded as a raw octet string"
 * and may accept a DER OCTET STRING; NSS tries both (PK11_PubDeriveWithKDF). Both begin with 04, so the length decides.
 * OpenSSL refuses points that are not on the curve. CKR_MECHANISM_PARAM_INVALID. */
static CK_RV read_peer(EVP_PKEY *own, struct tok_span in, EVP_PKEY **peer)
{
  if (!EVP_PKEY_is_a(own, "EC")) {
    CK_ULONG size = EVP_PKEY_is_a(own, "X448") ? 56 : 32;
    if (in.len != size) in = octets(in);
    if (in.len != size) return CKR_MECHANISM_PARAM_INVALID;
    *peer = EVP_PKEY_new_raw_public_key_ex(tok_module->crypto, EVP_PKEY_get0_type_name(own), NULL, in.data, in.len);
    return *peer != NULL ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
  }
  char group[80];
  CK_ULONG size = ((CK_ULONG)EVP_PKEY_get_bits(own) + 7) / 8;
  if (!is_point(in, size)) in = octets(in);
  if (!is_point(in, size)) return CKR_MECHANISM_PARAM_INVALID;
  if (EVP_PKEY_get_group_name(own, group, sizeof group, NULL) != 1) return CKR_CURVE_NOT_SUPPORTED;
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)in.data, in.len),
      OSSL_PARAM_construct_end(),
  };
  CK_RV rv = CKR_MECHANISM_PARAM_INVALID;
  EVP_PKEY_CTX *make = tok_pkey_context("EC"), *check = NULL;
  if (make == NULL || EVP_PKEY_fromdata_init(make) != 1) goto out;
  if (EVP_PKEY_fromdata(make, peer, EVP_PKEY_PUBLIC_KEY, params) != 1) goto out;
  check = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, *peer, NULL);
  /* On the curve and not at infinity: all there is to check where the cofactor is 1, as it is on our curves. */
  if (check != NULL && EVP_PKEY_public_check_quick(check) == 1) rv = CKR_OK;
out:
  EVP_PKEY_CTX_free(check);
  EVP_PKEY_CTX_free(make);
  return rv;
}

/* --- shared secret and key derivation function ------------------------------------------------------------------- */

/* The shared secret: *z is the caller's (tok_wipe_free). */
static CK_RV agree(EVP_PKEY *own, EVP_PKEY *peer, int cofactor, CK_BYTE **z, CK_ULONG *len)
{
  CK_RV rv = CKR_FUNCTION_FAILED;
  size_t size = 0, used = 0;
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, &cofactor),
      OSSL_PARAM_construct_end(),
  };
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, own, NULL);
  if (ctx == NULL || EVP_PKEY_derive_init_ex(ctx, EVP_PKEY_is_a(own, "EC") ? params : NULL) != 1) goto out;
  rv = CKR_MECHANISM_PARAM_INVALID;
  if (EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) != 1 || EVP_PKEY_derive(ctx, NULL, &size) != 1) goto out;
  *z = tok_alloc(size);
  if (*z == NULL) {
    rv = CKR_HOST_MEMORY;
    goto out;
  }
  used = size;
  /* Fails for the points of small order of X25519 and X448: the secret would be all zeros (RFC 7748, 6.1). */
  if (EVP_PKEY_derive(ctx, *z, &used) == 1 && used == size) {
    *len = size;
    rv = CKR_OK;
  } else {
    tok_wipe_free(*z, size);
    *z = NULL;
  }
out:
  EVP_PKEY_CTX_free(ctx);
  return rv;
}

static bool is_sp800(CK_EC_KDF_TYPE kdf)
{
  return kdf >= CKD_SHA1_KDF_SP800 && kdf <= CKD_SHA3_512_KDF_SP800;
}

/* `len` bytes of H(Z || counter || shared data), ANSI X9.63, or H(counter || Z || shared data), SP800-56A 5.8.1.1. */
static CK_RV expand(CK_EC_KDF_TYPE kdf, enum tok_hash hash, struct tok_span z, struct tok_span shared, CK_BYTE *out,
                    CK_ULONG len)
{
  CK_BYTE digest[64];
  CK_ULONG size = z.len + 4 + shared.len, block = tok_hash_size(hash), done = 0;
  CK_BYTE *input = tok_alloc(size);
  if (input == NULL) return CKR_HOST_MEMORY;
  CK_BYTE *counter = is_sp800(kdf) ? input : input + z.len;
  memcpy(is_sp800(kdf) ? input + 4 : input, z.data, z.len);
  if (shared.len > 0) memcpy(input + z.len + 4, shared.data, shared.len);
  CK_RV rv = CKR_OK;
  for (uint32_t i = 1; rv == CKR_OK && done < len; i++) {
    for (int b = 0; b < 4; b++) counter[b] = (CK_BYTE)(i >> (24 - 8 * b));
    rv = tok_hash_once(hash, input, size, digest);
    CK_ULONG part = len - done < block ? len - done : block;
    memcpy(out + done, digest, part);
    done += part;
  }
  OPENSSL_cleanse(digest, sizeof digest);
  tok_wipe_free(input, size);
  return rv;
}

/* The new key by a key derivation function, which makes as many bytes as are wanted. */
static CK_RV set_expanded(struct tok_attrs *key, const struct tok_template *t, const CK_ECDH1_DERIVE_PARAMS *p,
                          enum tok_hash hash, struct tok_span z)
{
  CK_ULONG len = 0;
  CK_RV rv = tok_derive_length(key, t, 0, true, &len);
  if (rv != CKR_OK) return rv;
  CK_BYTE *out = tok_alloc(len);
  if (out == NULL) return CKR_HOST_MEMORY;
  rv = expand(p->kdf, hash, z, (struct tok_span){p->pSharedData, p->ulSharedDataLen}, out, len);
  if (rv == CKR_OK) rv = tok_derive_set(key, out, len);
  tok_wipe_free(out, len);
  return rv;
}

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  (void)session;
  (void)none;
  const struct tok_template t = {templ, count};
  const CK_ECDH1_DERIVE_PARAMS *p = tok_mech_param(mechanism, sizeof *p);
  if (base->class != CKO_PRIVATE_KEY) return CKR_KEY_TYPE_INCONSISTENT;
  if (p == NULL || p->pPublicData == NULL || p->ulPublicDataLen == 0) return CKR_MECHANISM_PARAM_INVALID;
  enum tok_hash hash = TOK_HASH_NONE;
  if (p->kdf == CKD_NULL) {
    /* "With the key derivation function CKD_NULL, pSharedData must be NULL and ulSharedDataLen must be zero." */
    if (p->ulSharedDataLen != 0 || p->pSharedData != NULL) return CKR_MECHANISM_PARAM_INVALID;
  } else {
    hash = tok_hash_by_kdf(p->kdf);
    if (hash == TOK_HASH_NONE || p->ulSharedDataLen > TOK_DERIVE_MOST) return CKR_MECHANISM_PARAM_INVALID;
    if (p->pSharedData == NULL && p->ulSharedDataLen > 0) return CKR_MECHANISM_PARAM_INVALID;
  }
  EVP_PKEY *own = NULL, *peer = NULL;
  CK_BYTE *z = NULL;
  CK_ULONG len = 0;
  CK_RV rv = tok_derive_inherit(key, &t, base, TOK_BOND_NONE);
  if (rv == CKR_OK) rv = tok_object_pkey(base, &own);
  if (rv == CKR_OK) rv = read_peer(own, (struct tok_span){p->pPublicData, p->ulPublicDataLen}, &peer);
  if (rv == CKR_OK) rv = agree(own, peer, mech->arg != 0, &z, &len);
  if (rv != CKR_OK) goto out;
  if (hash == TOK_HASH_NONE)
    rv = tok_derive_trailing(key, &t, z, len);
  else
    rv = set_expanded(key, &t, p, hash, (struct tok_span){z, len});
out:
  tok_wipe_free(z, len);
  EVP_PKEY_free(peer);
  return rv;
}

const struct tok_family tok_family_ecdh_derive = {.derive = derive};
