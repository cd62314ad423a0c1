/* Saving and restoring ciphers: the chaining value becomes the IV with which the operation is begun again, and what has
 * come of a block is fed once more. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/cipher.h"
#include "crypto/ciphers.h"
#include "crypto/mech.h"
#include "crypto/saving.h"

/* The IV as it is now; for those that have none, nothing. */
static bool chaining(const struct tok_cipher_state *state, CK_BYTE *iv, size_t len)
{
  return EVP_CIPHER_CTX_get_updated_iv(state->context, iv, len) == 1;
}

/* OpenSSL's counter is that of the next block; `used` bytes of the block before it are spent. */
static bool save_counter(const struct tok_cipher_state *state, unsigned used, struct tok_saving *to)
{
  CK_AES_CTR_PARAMS ctr = {.ulCounterBits = 128};
  if (!chaining(state, ctr.cb, sizeof ctr.cb)) return false;
  for (int i = 15; used > 0 && i >= 0; i--)
    if (ctr.cb[i]-- != 0) break;
  tok_save_bytes(to, &ctr, sizeof ctr);
  return true;
}

static bool save_iv(const struct tok_cipher_state *state, size_t len, struct tok_saving *to)
{
  CK_BYTE iv[16];
  if (!chaining(state, iv, len)) return false;
  tok_save_bytes(to, iv, len);
  return true;
}

static bool save_rc2(const struct tok_cipher_state *state, struct tok_saving *to)
{
  CK_RC2_CBC_PARAMS rc2 = {.ulEffectiveBits = state->rc2_bits};
  if (!chaining(state, rc2.iv, sizeof rc2.iv)) return false;
  tok_save_bytes(to, &rc2, sizeof rc2);
  return true;
}

static bool save_parameter(const struct tok_op *op, unsigned used, struct tok_saving *to)
{
  const struct tok_cipher_state *state = op->state;
  const CK_RC2_PARAMS bits = state->rc2_bits;
  switch (op->mech->arg) {
    case TOK_AES_ECB:
    case TOK_DES3_ECB:
    case TOK_DES_ECB: tok_save_bytes(to, NULL, 0); return true;
    case TOK_RC2_ECB: tok_save_bytes(to, &bits, sizeof bits); return true;
    case TOK_RC2_CBC:
    case TOK_RC2_CBC_PAD: return save_rc2(state, to);
    case TOK_AES_CTR: return save_counter(state, used, to);
    case TOK_AES_CTS: tok_save_bytes(to, state->chain, sizeof state->chain); return true;
    case TOK_RC4: return false; /* its state is a permutation that OpenSSL keeps to itself */
    default: return save_iv(state, state->block == 1 ? 16 : state->block, to);
  }
}

bool tok_cipher_save(struct tok_op *op, struct tok_saving *to)
{
  const struct tok_cipher_state *state = op->state;
  /* How far into its block a stream is. */
  int used = state->block == 1 && op->mech->arg != TOK_AES_CTS ? EVP_CIPHER_CTX_get_num(state->context) : 0;
  if (used < 0 || used > 15 || !save_parameter(op, (unsigned)used, to)) return false;
  tok_save_number(to, (uint64_t)used);
  tok_save_number(to, state->left);
  tok_save_bytes(to, state->tail, state->within);
  return true;
}

/* A stream in the middle of a block: CTR makes the block of its keystream again, the others have what they need of it in
 * the IV. */
static bool go_into_block(const struct tok_op *op, int used)
{
  const struct tok_cipher_state *state = op->state;
  CK_BYTE spent[16] = {0};
  int written = 0;
  bool ok = true;
  if (used > 0 && op->mech->arg == TOK_AES_CTR)
    ok = EVP_CipherUpdate(state->context, spent, &written, spent, used) == 1;
  else if (used > 0)
    ok = EVP_CIPHER_CTX_set_num(state->context, used) == 1;
  OPENSSL_cleanse(spent, sizeof spent);
  return ok;
}

CK_RV tok_cipher_restore(struct tok_op *op, struct tok_saved *from)
{
  struct tok_cipher_state *state = op->state;
  uint64_t used = tok_saved_number(from);
  uint64_t left = tok_saved_number(from);
  size_t within = 0;
  const CK_BYTE *tail = tok_saved_bytes(from, &within);
  if (from->bad || used > 15 || (used > 0 && state->block > 1)) return CKR_SAVED_STATE_INVALID;
  if (!go_into_block(op, (int)used)) return CKR_FUNCTION_FAILED;
  state->left = left;
  if (op->mech->arg == TOK_AES_CTS) {
    if (within > sizeof state->tail) return CKR_SAVED_STATE_INVALID;
    memcpy(state->tail, tail, within);
    state->within = (unsigned)within;
    return CKR_OK;
  }
  if (within > (state->block > 1 ? state->block : 0)) return CKR_SAVED_STATE_INVALID;
  if (within == 0) return CKR_OK;
  CK_BYTE nothing[32];
  CK_ULONG written = 0;
  CK_RV rv = op->type->update(op, tail, within, nothing, &written);
  return rv == CKR_OK && written > 0 ? CKR_SAVED_STATE_INVALID : rv;
}
