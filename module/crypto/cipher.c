/* Family `cipher`: block ciphers in their modes, and RC4, without authentication. */
#include "crypto/cipher.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/ciphers.h"
#include "crypto/mech.h"
#include "object/objects.h"

/* What a mechanism's parameter says. */
struct parameter {
  const CK_BYTE *iv;
  unsigned rc2_bits; /* effective bits of an RC2 key */
  uint64_t left;     /* as in tok_cipher_state */
};

/* --- parameters
 * ----------------------------------------------------------------------------------------------------- */

static bool read_none(CK_MECHANISM_PTR mechanism, unsigned block, struct parameter *p)
{
  (void)block;
  (void)p;
  return tok_mech_bare(mechanism);
}

static bool read_iv(CK_MECHANISM_PTR mechanism, unsigned block, struct parameter *p)
{
  p->iv = tok_mech_param(mechanism, block);
  return p->iv != NULL;
}

/* All of these have an IV of 16 bytes, though they are streams. */
static bool read_aes_iv(CK_MECHANISM_PTR mechanism, unsigned block, struct parameter *p)
{
  (void)block;
  return read_iv(mechanism, 16, p);
}

/* PKCS #11 3.2, 6.15 (AES with Counter): 0 < ulCounterBits <= 128, and the bits of the counter must not overflow; so
 * below the end that this finds, counting in all 128 bits, as OpenSSL does, is the same as counting in so many of
 * them. */
static bool read_counter(CK_MECHANISM_PTR mechanism, unsigned block, struct parameter *p)
{
  (void)block;
  const CK_AES_CTR_PARAMS *ctr = tok_mech_param(mechanism, sizeof(CK_AES_CTR_PARAMS));
  if (ctr == NULL || ctr->ulCounterBits < 1 || ctr->ulCounterBits > 128) return false;
  unsigned __int128 counter = 0;
  for (size_t i = 0; i < sizeof ctr->cb; i++) counter = counter << 8 | ctr->cb[i];
  /* 2^bits - counter, which does not fit if it is 2^128: nobody gets that far. */
  unsigned __int128 last =
      ctr->ulCounterBits == 128 ? ~(unsigned __int128)0 : ((unsigned __int128)1 << ctr->ulCounterBits) - 1;
  unsigned __int128 blocks = last - (counter & last);
  p->left = blocks < UINT64_MAX / 16 ? ((uint64_t)blocks + 1) * 16 : UINT64_MAX;
  p->iv = ctr->cb;
  return true;
}

static bool read_rc2_ecb(CK_MECHANISM_PTR mechanism, unsigned block, struct parameter *p)
{
  (void)block;
  const CK_RC2_PARAMS *bits = tok_mech_param(mechanism, sizeof(CK_RC2_PARAMS));
  if (bits == NULL || *bits < 1 || *bits > 1024) return false;
  p->rc2_bits = (unsigned)*bits;
  return true;
}

static bool read_rc2_cbc(CK_MECHANISM_PTR mechanism, unsigned block, struct parameter *p)
{
  (void)block;
  const CK_RC2_CBC_PARAMS *rc2 = tok_mech_param(mechanism, sizeof(CK_RC2_CBC_PARAMS));
  if (rc2 == NULL || rc2->ulEffectiveBits < 1 || rc2->ulEffectiveBits > 1024) return false;
  p->rc2_bits = (unsigned)rc2->ulEffectiveBits;
  p->iv = rc2->iv;
  return true;
}

/* A context is not kept where more than the IV belongs to an operation: the effective bits of RC2, the state of RC4. */
/* clang-format off */
static const struct {
  unsigned char block; /* 1: a stream */
  bool padded, keep;
  bool (*read)(CK_MECHANISM_PTR mechanism, unsigned block, struct parameter *p);
} modes[] = {
  [TOK_AES_ECB]      = {16, false, true,  read_none},
  [TOK_AES_CBC]      = {16, false, true,  read_iv},
  [TOK_AES_CBC_PAD]  = {16, true,  true,  read_iv},
  [TOK_AES_CTR]      = {1,  false, true,  read_counter},
  [TOK_AES_CTS]      = {1,  false, false, read_aes_iv},
  [TOK_AES_OFB]      = {1,  false, true,  read_aes_iv},
  [TOK_AES_CFB8]     = {1,  false, true,  read_aes_iv},
  [TOK_AES_CFB128]   = {1,  false, true,  read_aes_iv},
  [TOK_DES3_ECB]     = {8,  false, true,  read_none},
  [TOK_DES3_CBC]     = {8,  false, true,  read_iv},
  [TOK_DES3_CBC_PAD] = {8,  true,  true,  read_iv},
  [TOK_DES_ECB]      = {8,  false, true,  read_none},
  [TOK_DES_CBC]      = {8,  false, true,  read_iv},
  [TOK_DES_CBC_PAD]  = {8,  true,  true,  read_iv},
  [TOK_RC2_ECB]      = {8,  false, false, read_rc2_ecb},
  [TOK_RC2_CBC]      = {8,  false, false, read_rc2_cbc},
  [TOK_RC2_CBC_PAD]  = {8,  true,  false, read_rc2_cbc},
  [TOK_RC4]          = {1,  false, false, read_none},
};
/* clang-format on */

/* --- room
 * ----------------------------------------------------------------------------------------------------------- */

CK_RV tok_cipher_len_error(const struct tok_cipher_state *state)
{
  return state->encrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
}

static CK_RV stream_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  const struct tok_cipher_state *state = op->state;
  (void)exact;
  *out = step == TOK_STEP_FINAL ? 0 : in;
  /* 6.15: CKR_DATA_LEN_RANGE, whichever way it goes. */
  return *out > state->left ? CKR_DATA_LEN_RANGE : CKR_OK;
}

/* Whole blocks; a padded last block is held back on the way back, because its padding must come off. */
static CK_RV block_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  const struct tok_cipher_state *state = op->state;
  if (in > ULONG_MAX - 2 * state->block) return tok_cipher_len_error(state);
  CK_ULONG block = state->block, total = state->within + in;
  bool unpads = state->padded && !state->encrypt;
  if (step == TOK_STEP_UPDATE) {
    *out = unpads ? (total > 0 ? (total - 1) / block * block : 0) : total / block * block;
    return CKR_OK;
  }
  if (state->padded && state->encrypt) {
    *out = (total / block + 1) * block;
    return CKR_OK;
  }
  *out = total;
  *exact = !unpads;
  return total % block != 0 || (unpads && total == 0) ? tok_cipher_len_error(state) : CKR_OK;
}

/* --- steps
 * ---------------------------------------------------------------------------------------------------------- */

static CK_RV stream_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_cipher_state *state = op->state;
  if (state->left != UINT64_MAX) state->left -= len;
  return tok_cipher_feed(state->context, in, len, out, out_len);
}

static CK_RV stream_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_cipher_state *state = op->state;
  (void)out;
  *out_len = 0;
  state->finished = true;
  return CKR_OK;
}

static CK_RV block_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_cipher_state *state = op->state;
  CK_BYTE *copy = NULL;
  /* In place, a block that was begun earlier would be written over input not yet read. */
  if (in == out && state->within > 0 && len > 0) {
    copy = tok_dup(in, len);
    if (copy == NULL) return CKR_HOST_MEMORY;
    in = copy;
  }
  CK_RV rv = tok_cipher_feed(state->context, in, len, out, out_len);
  if (rv == CKR_OK) state->within = (unsigned)(state->within + len - *out_len);
  tok_wipe_free(copy, len);
  return rv;
}

static CK_RV block_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_cipher_state *state = op->state;
  int written = 0;
  if (state->padded && EVP_CipherFinal_ex(state->context, out, &written) != 1)
    return state->encrypt ? CKR_FUNCTION_FAILED : CKR_ENCRYPTED_DATA_INVALID;
  *out_len = (CK_ULONG)written;
  state->finished = true;
  return CKR_OK;
}

static void state_free(struct tok_parked *parked)
{
  struct tok_cipher_state *state = (struct tok_cipher_state *)parked;
  EVP_CIPHER_CTX_free(state->context);
  EVP_CIPHER_CTX_free(state->bulk);
  tok_wipe_free(state, sizeof *state);
}

void tok_cipher_free(struct tok_op *op)
{
  struct tok_cipher_state *state = op->state;
  if (state == NULL) return;
  op->state = NULL;
  if (state->finished && state->keep)
    tok_park(op->key, &state->parked);
  else
    state_free(&state->parked);
}

static const struct tok_op_type stream_type = {
    .room = stream_room, .update = stream_update, .final = stream_final, .free = tok_cipher_free};
static const struct tok_op_type block_type = {
    .room = block_room, .update = block_update, .final = block_final, .free = tok_cipher_free};

/* --- start
 * ---------------------------------------------------------------------------------------------------------- */

/* A new context with the key in it. */
static CK_RV make_context(struct tok_op *op, struct tok_cipher_state *state, const struct parameter *p)
{
  unsigned arg = op->mech->arg;
  struct tok_cipher_key key;
  CK_RV rv = tok_cipher_key(op->key, arg, &key);
  if (rv != CKR_OK) goto out;
  rv = CKR_FUNCTION_FAILED;
  EVP_CIPHER *cipher = tok_cipher_fetch(arg, key.len);
  state->context = EVP_CIPHER_CTX_new();
  if (cipher == NULL || state->context == NULL) goto out;
  OSSL_PARAM parameters[3] = {OSSL_PARAM_END, OSSL_PARAM_END, OSSL_PARAM_END};
  size_t len = key.len, bits = p->rc2_bits, n = 0;
  /* Lengths come before the key: ciphers whose keys may have any length have a length of their own otherwise. */
  if (arg == TOK_RC4 || bits != 0) parameters[n++] = OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_KEYLEN, &len);
  if (bits != 0) parameters[n++] = OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_RC2_KEYBITS, &bits);
  if (n > 0) {
    if (EVP_CipherInit_ex2(state->context, cipher, NULL, NULL, state->encrypt, parameters) != 1) goto out;
    cipher = NULL; /* given again it would begin from nothing */
  }
  /* Not with the cipher again: that would reset the context, lengths included. */
  if (EVP_CipherInit_ex2(state->context, n > 0 ? NULL : cipher, key.bytes, p->iv, state->encrypt, NULL) != 1) goto out;
  if (state->block > 1 && EVP_CIPHER_CTX_set_padding(state->context, state->padded) != 1) goto out;
  rv = CKR_OK;
out:
  OPENSSL_cleanse(&key, sizeof key);
  return rv;
}

/* Eight effective bits of an RC2 key are found by trying 256, the next eight then by 256 more: so a key that may not
 * leave is used with all of its bits, or 112. */
static bool enough_bits(const struct tok_object *key, unsigned bits)
{
  CK_ULONG len = 0;
  if (bits == 0 || tok_attrs_bool(&key->attrs, CKA_EXTRACTABLE, false)) return true;
  return tok_attrs_get(&key->attrs, CKA_VALUE, &len) != NULL && bits >= (len < 14 ? len * 8 : 112);
}

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  unsigned arg = op->mech->arg;
  struct parameter p = {.left = UINT64_MAX};
  if (!modes[arg].read(mechanism, modes[arg].block, &p) || !enough_bits(op->key, p.rc2_bits))
    return CKR_MECHANISM_PARAM_INVALID;
  bool encrypt = op->kind == TOK_ENCRYPT;
  struct tok_cipher_state *state = (struct tok_cipher_state *)tok_park_take(op->key, op->mech, op->kind);
  bool fresh = state == NULL;
  if (fresh) state = tok_alloc(sizeof *state);
  if (state == NULL) return CKR_HOST_MEMORY;
  op->state = state;
  op->type = arg == TOK_AES_CTS ? &tok_cipher_cts_type : modes[arg].block == 1 ? &stream_type : &block_type;
  state->finished = false;
  state->within = 0;
  state->left = p.left;
  if (!fresh)
    return EVP_CipherInit_ex2(state->context, NULL, NULL, p.iv, encrypt, NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
  state->parked = (struct tok_parked){op->mech, op->kind, state_free};
  state->encrypt = encrypt;
  state->keep = modes[arg].keep;
  state->block = modes[arg].block;
  state->padded = modes[arg].padded;
  if (arg == TOK_AES_CTS) memcpy(state->chain, p.iv, sizeof state->chain);
  return make_context(op, state, &p);
}

const struct tok_family tok_family_cipher = {.cipher = start};
