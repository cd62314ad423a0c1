/* CKM_AES_CTS: CBC with ciphertext stealing.
 *
 * PKCS #11 3.2, 6.17 refers to NIST's addendum to SP 800-38A, which has three variants; the length of the output is
 * all that the text adds. NSS takes the first, CBC-CS1 (lib/freebl/cts.c), and so does OpenSSL unless it is told
 * otherwise. */
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/cipher.h"
#include "crypto/ciphers.h"

enum { BLOCK = 16 };

/* Of `total` bytes not yet processed those that surely come before the last two blocks, a partial one counting as
 * one. */
static CK_ULONG before_tail(CK_ULONG total)
{
  return total <= 2 * BLOCK ? 0 : (total - BLOCK - 1) / BLOCK * BLOCK;
}

static CK_RV cts_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  const struct tok_cipher_state *state = op->state;
  (void)exact;
  if (in > (CK_ULONG)-1 - sizeof state->tail) return tok_cipher_len_error(state);
  CK_ULONG total = state->within + in;
  *out = step == TOK_STEP_UPDATE ? before_tail(total) : total;
  return step != TOK_STEP_UPDATE && total < BLOCK ? tok_cipher_len_error(state) : CKR_OK;
}

/* Plain CBC for what comes before the tail; remembers the block that the tail is chained to. */
static CK_RV feed_bulk(struct tok_cipher_state *state, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out)
{
  CK_ULONG written = 0;
  if (len == 0) return CKR_OK;
  if (!state->encrypt) memcpy(state->chain, in + len - BLOCK, BLOCK); /* before it is written over in place */
  CK_RV rv = tok_cipher_feed(state->bulk, in, len, out, &written);
  if (rv == CKR_OK && state->encrypt) memcpy(state->chain, out + len - BLOCK, BLOCK);
  return rv;
}

static CK_RV start_bulk(struct tok_op *op, struct tok_cipher_state *state)
{
  struct tok_cipher_key key;
  CK_RV rv = tok_cipher_key(op->key, TOK_AES_CBC, &key);
  if (rv != CKR_OK) goto out;
  EVP_CIPHER *cipher = tok_cipher_fetch(TOK_AES_CBC, key.len);
  state->bulk = EVP_CIPHER_CTX_new();
  if (cipher == NULL || state->bulk == NULL ||
      EVP_CipherInit_ex2(state->bulk, cipher, key.bytes, state->chain, state->encrypt, NULL) != 1 ||
      EVP_CIPHER_CTX_set_padding(state->bulk, 0) != 1)
    rv = CKR_FUNCTION_FAILED;
out:
  OPENSSL_cleanse(&key, sizeof key);
  return rv;
}

/* Gives out all but a tail of 17 to 32 bytes. The old tail and the new part are joined in one buffer first, so that
 * in-place calls and parts of any length need no cases of their own. */
static CK_RV cts_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_cipher_state *state = op->state;
  CK_ULONG total = state->within + len, now = before_tail(total);
  CK_RV rv = CKR_OK;
  if (now > 0 && state->bulk == NULL) rv = start_bulk(op, state);
  if (rv != CKR_OK) return rv;
  CK_BYTE *joined = tok_alloc(total + 1);
  if (joined == NULL) return CKR_HOST_MEMORY;
  memcpy(joined, state->tail, state->within);
  if (len > 0) memcpy(joined + state->within, in, len);
  rv = feed_bulk(state, joined, now, out);
  if (rv == CKR_OK) {
    state->within = (unsigned)(total - now);
    memcpy(state->tail, joined + now, state->within);
    *out_len = now;
  }
  tok_wipe_free(joined, total + 1);
  return rv;
}

/* OpenSSL does it in one call only. */
static CK_RV cts_single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_cipher_state *state = op->state;
  int written = 0;
  if (len > INT_MAX) return tok_cipher_len_error(state);
  if (EVP_CipherUpdate(state->context, out, &written, in, (int)len) != 1) return CKR_FUNCTION_FAILED;
  *out_len = (CK_ULONG)written;
  return CKR_OK;
}

static CK_RV cts_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_cipher_state *state = op->state;
  if (EVP_CipherInit_ex2(state->context, NULL, NULL, state->chain, state->encrypt, NULL) != 1)
    return CKR_FUNCTION_FAILED;
  return cts_single(op, state->tail, state->within, out, out_len);
}

const struct tok_op_type tok_cipher_cts_type = {
    .room = cts_room, .update = cts_update, .final = cts_final, .single = cts_single, .free = tok_cipher_free};
