/* MACs of SSL 3.0 and TLS: CKM_SSL3_MD5_MAC and CKM_SSL3_SHA1_MAC, CKM_TLS_MAC for the Finished messages, and the PRF
 * as a signature, which is how NSS exports keying material (ssl3_TLSPRFWithMasterSecret). */
#include <openssl/crypto.h>
#include <string.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/op.h"
#include "crypto/tls_prf.h"

/* The PRF needs its seed more than once, so the data is collected. */
struct state {
  enum tok_hash hash; /* of SSL 3.0, or of the PRF; TOK_HASH_NONE: the PRF of TLS 1.0 */
  bool ssl3;
  CK_ULONG mac; /* bytes of output; 0: as many as the caller's buffer takes */
  CK_BYTE *data;
  CK_ULONG len, room;
};

#define MOST_DATA (64u << 20)

static CK_RV room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  const struct state *s = op->state;
  (void)in;
  if (step == TOK_STEP_UPDATE)
    *out = 0;
  else if (s->mac > 0)
    *out = s->mac;
  *exact = true;
  return CKR_OK;
}

static CK_RV append(struct state *s, const void *data, CK_ULONG len)
{
  if (len > MOST_DATA || s->len > MOST_DATA - len) return CKR_DATA_LEN_RANGE;
  if (s->len + len > s->room) {
    CK_ULONG larger = 2 * (s->len + len) + 64;
    CK_BYTE *moved = tok_alloc(larger);
    if (moved == NULL) return CKR_HOST_MEMORY;
    if (s->len > 0) memcpy(moved, s->data, s->len);
    tok_wipe_free(s->data, s->room);
    s->data = moved;
    s->room = larger;
  }
  if (len > 0) memcpy(s->data + s->len, data, len);
  s->len += len;
  return CKR_OK;
}

static CK_RV update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  (void)out;
  if (out_len != NULL) *out_len = 0;
  return append(op->state, in, len);
}

/* H(key + pad2 + H(key + pad1 + data)), RFC 6101, 5.2.3.1; what is before the data is in s->data already. */
static CK_RV ssl3_mac(const struct state *s, struct tok_span key, CK_BYTE *digest)
{
  CK_ULONG pad = s->hash == TOK_MD5 ? 48 : 40, h = tok_hash_size(s->hash), size = key.len + pad + h;
  CK_BYTE *outer = tok_alloc(size);
  if (outer == NULL) return CKR_HOST_MEMORY;
  memcpy(outer, key.data, key.len);
  memset(outer + key.len, 0x5c, pad);
  CK_RV rv = tok_hash_once(s->hash, s->data, s->len, outer + key.len + pad);
  if (rv == CKR_OK) rv = tok_hash_once(s->hash, outer, size, digest);
  tok_wipe_free(outer, size);
  return rv;
}

/* `len` bytes of the MAC. */
static CK_RV compute(struct tok_op *op, CK_BYTE *out, CK_ULONG len)
{
  const struct state *s = op->state;
  struct tok_span key;
  CK_BYTE digest[64];
  CK_RV rv = tok_derive_value(op->key, &key);
  if (rv != CKR_OK) return rv;
  if (!s->ssl3) {
    const struct tok_span seed = {s->data, s->len};
    return tok_tls_prf(s->hash, key, &seed, 1, out, len);
  }
  rv = ssl3_mac(s, key, digest);
  if (rv == CKR_OK) memcpy(out, digest, len);
  OPENSSL_cleanse(digest, sizeof digest);
  return rv;
}

static CK_RV final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  const struct state *s = op->state;
  if (s->mac > 0) *out_len = s->mac;
  if (*out_len > TOK_TLS_MOST) return CKR_ARGUMENTS_BAD;
  return compute(op, out, *out_len);
}

static CK_RV verify(struct tok_op *op, const CK_BYTE *signature, CK_ULONG len)
{
  const struct state *s = op->state;
  if (len == 0 || len > TOK_TLS_MOST || (s->mac > 0 && len != s->mac)) return CKR_SIGNATURE_LEN_RANGE;
  CK_BYTE *mac = tok_alloc(len);
  if (mac == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = compute(op, mac, len);
  if (rv == CKR_OK && CRYPTO_memcmp(mac, signature, len) != 0) rv = CKR_SIGNATURE_INVALID;
  tok_wipe_free(mac, len);
  return rv;
}

static void free_state(struct tok_op *op)
{
  struct state *s = op->state;
  if (s == NULL) return;
  tok_wipe_free(s->data, s->room);
  tok_wipe_free(s, sizeof *s);
  op->state = NULL;
}

static const struct tok_op_type type = {
    .room = room, .update = update, .final = final, .verify = verify, .free = free_state};

/* --- the mechanisms ---------------------------------------------------------------------------------------------- */

/* CK_MAC_GENERAL_PARAMS, the length of the MAC. The standard's text has "4-8" from the days of truncated MACs; NSS asks
 * for all of it. */
static CK_RV start_ssl3(struct state *s, struct tok_span key, CK_MECHANISM_PTR mechanism)
{
  CK_BYTE pad[48];
  const CK_MAC_GENERAL_PARAMS *length = tok_mech_param(mechanism, sizeof *length);
  s->ssl3 = true;
  s->hash = mechanism->mechanism == CKM_SSL3_MD5_MAC ? TOK_MD5 : TOK_SHA1;
  if (length == NULL || *length < 4 || *length > tok_hash_size(s->hash)) return CKR_MECHANISM_PARAM_INVALID;
  s->mac = *length;
  memset(pad, 0x36, sizeof pad);
  CK_RV rv = append(s, key.data, key.len);
  return rv == CKR_OK ? append(s, pad, s->hash == TOK_MD5 ? 48 : 40) : rv;
}

static CK_RV label(struct state *s, bool server)
{
  return append(s, server ? "server finished" : "client finished", 15);
}

/* "ulMacLength: always 12 octets in TLS 1.0 and 1.1. Generally 12 octets, but may be negotiated to a longer value in
 * TLS1.2. ulServerOrClient: 1 to use the label "server finished", 2 to use the label "client finished"." */
static CK_RV start_finished(struct state *s, CK_MECHANISM_PTR mechanism)
{
  const CK_TLS_MAC_PARAMS *p = tok_mech_param(mechanism, sizeof *p);
  if (p == NULL || !tok_tls_prf_of(p->prfHashMechanism, &s->hash)) return CKR_MECHANISM_PARAM_INVALID;
  if (p->ulMacLength < 12 || p->ulMacLength > TOK_TLS_MOST) return CKR_MECHANISM_PARAM_INVALID;
  if (s->hash == TOK_HASH_NONE && p->ulMacLength != 12) return CKR_MECHANISM_PARAM_INVALID;
  if (p->ulServerOrClient != 1 && p->ulServerOrClient != 2) return CKR_MECHANISM_PARAM_INVALID;
  s->mac = p->ulMacLength;
  return label(s, p->ulServerOrClient == 1);
}

static CK_RV start_tls10(struct state *s, CK_MECHANISM_PTR mechanism)
{
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  s->mac = 12;
  return label(s, mechanism->mechanism == CKM_TLS10_MAC_SERVER);
}

/* Data is label and seed, the signature as long as the buffer for it; or as long as the parameter says, if there is
 * one. */
static CK_RV start_general(struct state *s, CK_MECHANISM_PTR mechanism)
{
  s->hash = mechanism->mechanism == CKM_NSS_TLS_PRF_GENERAL_SHA256 ? TOK_SHA256 : TOK_HASH_NONE;
  if (tok_mech_bare(mechanism)) return CKR_OK;
  const CK_MAC_GENERAL_PARAMS *length = tok_mech_param(mechanism, sizeof *length);
  if (length == NULL || *length == 0 || *length > TOK_TLS_MOST) return CKR_MECHANISM_PARAM_INVALID;
  s->mac = *length;
  return CKR_OK;
}

static CK_RV sign(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  struct tok_span key;
  CK_RV rv = tok_derive_value(op->key, &key);
  if (rv != CKR_OK) return rv;
  struct state *s = tok_alloc(sizeof *s);
  if (s == NULL) return CKR_HOST_MEMORY;
  op->type = &type;
  op->state = s;
  switch (op->mech->type) {
    case CKM_SSL3_MD5_MAC:
    case CKM_SSL3_SHA1_MAC: return start_ssl3(s, key, mechanism);
    case CKM_TLS_MAC:
    case CKM_TLS12_MAC: rv = start_finished(s, mechanism); break;
    case CKM_TLS10_MAC_SERVER:
    case CKM_TLS10_MAC_CLIENT: rv = start_tls10(s, mechanism); break;
    default: rv = start_general(s, mechanism); break;
  }
  return rv == CKR_OK && s->hash == TOK_HASH_NONE ? tok_derive_halves(op->key) : rv;
}

const struct tok_family tok_family_tls_mac = {.sign = sign};
