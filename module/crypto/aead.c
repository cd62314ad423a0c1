/* Family `aead`: ciphers that authenticate. The tag follows the ciphertext, except in messages. */
#include "crypto/aead.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/ciphers.h"
#include "crypto/op.h"
#include "crypto/park.h"
#include "object/objects.h"

struct state {
  struct tok_parked parked;
  EVP_CIPHER_CTX *context;
  bool encrypt;
  bool ccm;      /* needs all of its data at once */
  bool finished; /* the operation came to its end */
  CK_ULONG iv_len, tag_len, data_len;
  bool apart; /* the tag is not behind the ciphertext but here */
  CK_BYTE tag[16];
  /* Parts that wait for the end: ciphertext whose tag has not been seen, and all that CCM is given. */
  CK_BYTE *parts;
  CK_ULONG len, room;
  /* CCM: what it must hear before the data, which it gets when their length is known to be right */
  CK_BYTE *aad;
  CK_ULONG aad_len;
};

static bool gathers(const struct state *state)
{
  return state->ccm || !state->encrypt;
}

/* Bytes of tag behind the ciphertext. */
static CK_ULONG tail(const struct state *state)
{
  return state->apart ? 0 : state->tag_len;
}

static CK_RV aead_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  const struct state *state = op->state;
  (void)exact;
  CK_RV wrong = state->encrypt ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
  if (in > ULONG_MAX / 2 - state->len) return wrong;
  CK_ULONG total = state->len + in;
  if (state->ccm && total > state->data_len + (state->encrypt ? 0 : tail(state))) return wrong;
  if (step == TOK_STEP_UPDATE) {
    *out = gathers(state) ? 0 : in;
    return CKR_OK;
  }
  if (state->encrypt)
    *out = total + tail(state);
  else if (total < tail(state))
    return wrong;
  else
    *out = total - tail(state);
  /* The total length of data processed must be ulDataLen (6.13.4). */
  if (state->ccm && total != state->data_len + (state->encrypt ? 0 : tail(state))) return wrong;
  return CKR_OK;
}

static CK_RV gather(struct state *state, const CK_BYTE *in, CK_ULONG len)
{
  if (state->len + len > state->room) {
    CK_ULONG room = (state->len + len) * 2;
    CK_BYTE *parts = tok_alloc(room);
    if (parts == NULL) return CKR_HOST_MEMORY;
    if (state->len > 0) memcpy(parts, state->parts, state->len);
    tok_wipe_free(state->parts, state->room);
    state->parts = parts;
    state->room = room;
  }
  if (len > 0) memcpy(state->parts + state->len, in, len);
  state->len += len;
  return CKR_OK;
}

/* Gives CCM the lengths and the additional data, for which OpenSSL has an order of its own. */
static bool feed_ccm_header(struct state *state)
{
  int n = 0;
  if (EVP_CipherUpdate(state->context, NULL, &n, NULL, (int)state->data_len) != 1) return false;
  return state->aad_len == 0 || EVP_CipherUpdate(state->context, NULL, &n, state->aad, (int)state->aad_len) == 1;
}

static CK_RV seal(struct state *state, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  CK_ULONG done = 0;
  int n = 0;
  CK_RV rv = CKR_OK;
  if (state->ccm) {
    if (!feed_ccm_header(state) || EVP_CipherUpdate(state->context, out, &n, in, (int)len) != 1)
      return CKR_FUNCTION_FAILED;
    done = (CK_ULONG)n;
  } else {
    rv = tok_cipher_feed(state->context, in, len, out, &done);
    if (rv != CKR_OK) return rv;
  }
  if (EVP_CipherFinal_ex(state->context, out + done, &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(state->context, EVP_CTRL_AEAD_GET_TAG, (int)state->tag_len,
                          state->apart ? state->tag : out + done) != 1)
    return CKR_FUNCTION_FAILED;
  *out_len = done + tail(state);
  state->finished = true;
  return CKR_OK;
}

/* `in` is ciphertext and, unless it is apart, tag. What is decrypted is wiped again if the tag is wrong. The list of C_Decrypt has
 * CKR_ENCRYPTED_DATA_INVALID for that; CKR_AEAD_DECRYPT_FAILED is in those of the message functions only. */
static CK_RV unseal(struct state *state, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  CK_ULONG data = len - tail(state), done = 0;
  int n = 0;
  if (!state->apart) memcpy(state->tag, in + data, state->tag_len);
  if (EVP_CIPHER_CTX_ctrl(state->context, EVP_CTRL_AEAD_SET_TAG, (int)state->tag_len, state->tag) != 1)
    return CKR_FUNCTION_FAILED;
  bool genuine;
  if (state->ccm) {
    if (!feed_ccm_header(state)) return CKR_FUNCTION_FAILED;
    genuine = EVP_CipherUpdate(state->context, out, &n, in, (int)data) == 1;
    done = data;
  } else {
    if (tok_cipher_feed(state->context, in, data, out, &done) != CKR_OK) return CKR_FUNCTION_FAILED;
    genuine = EVP_CipherFinal_ex(state->context, out + done, &n) == 1;
  }
  if (!genuine) {
    OPENSSL_cleanse(out, data);
    return state->apart ? CKR_AEAD_DECRYPT_FAILED : CKR_ENCRYPTED_DATA_INVALID;
  }
  *out_len = done;
  state->finished = true;
  return CKR_OK;
}

static CK_RV aead_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct state *state = op->state;
  if (!gathers(state)) return tok_cipher_feed(state->context, in, len, out, out_len);
  *out_len = 0;
  return gather(state, in, len);
}

static CK_RV aead_single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct state *state = op->state;
  return state->encrypt ? seal(state, in, len, out, out_len) : unseal(state, in, len, out, out_len);
}

static CK_RV aead_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  static const CK_BYTE nothing;
  struct state *state = op->state;
  if (!gathers(state)) return seal(state, &nothing, 0, out, out_len);
  return aead_single(op, state->parts != NULL ? state->parts : &nothing, state->len, out, out_len);
}

static void forget(struct state *state)
{
  tok_wipe_free(state->parts, state->room);
  tok_wipe_free(state->aad, state->aad_len);
  state->parts = state->aad = NULL;
  state->len = state->room = state->aad_len = 0;
}

static void state_free(struct tok_parked *parked)
{
  struct state *state = (struct state *)parked;
  forget(state);
  EVP_CIPHER_CTX_free(state->context);
  tok_wipe_free(state, sizeof *state);
}

static void aead_free(struct tok_op *op)
{
  struct state *state = op->state;
  if (state == NULL) return;
  op->state = NULL;
  if (state->finished && !state->ccm) {
    forget(state);
    tok_park(op->key, &state->parked);
  } else {
    state_free(&state->parked);
  }
}

static const struct tok_op_type aead_type = {
    .room = aead_room, .update = aead_update, .final = aead_final, .single = aead_single, .free = aead_free};

/* A new context with the key in it. A nonce of a length that OpenSSL does not take (GCM: more than 128 bytes in
 * version 3.0) is CKR_MECHANISM_PARAM_INVALID. */
static CK_RV make_context(struct tok_op *op, struct state *state, const struct tok_aead_param *p)
{
  struct tok_cipher_key key;
  CK_RV rv = tok_cipher_key(op->key, op->mech->arg, &key);
  if (rv != CKR_OK) goto out;
  rv = CKR_FUNCTION_FAILED;
  EVP_CIPHER *cipher = tok_cipher_fetch(op->mech->arg, key.len);
  state->context = EVP_CIPHER_CTX_new();
  if (cipher == NULL || state->context == NULL) goto out;
  /* Lengths other than the usual come before key and nonce. */
  if (state->ccm || p->iv_len != (CK_ULONG)EVP_CIPHER_get_iv_length(cipher)) {
    if (EVP_CipherInit_ex2(state->context, cipher, NULL, NULL, state->encrypt, NULL) != 1) goto out;
    cipher = NULL; /* given again it would begin from nothing */
    if (EVP_CIPHER_CTX_ctrl(state->context, EVP_CTRL_AEAD_SET_IVLEN, (int)p->iv_len, NULL) != 1) {
      rv = CKR_MECHANISM_PARAM_INVALID;
      goto out;
    }
    if (state->ccm && EVP_CIPHER_CTX_ctrl(state->context, EVP_CTRL_AEAD_SET_TAG, (int)state->tag_len, NULL) != 1)
      goto out;
  }
  if (EVP_CipherInit_ex2(state->context, cipher, key.bytes, p->iv, state->encrypt, NULL) == 1) rv = CKR_OK;
out:
  OPENSSL_cleanse(&key, sizeof key);
  return rv;
}

/* A parked context with another nonce. */
static CK_RV reuse_context(struct state *state, const struct tok_aead_param *p)
{
  if (p->iv_len != state->iv_len &&
      EVP_CIPHER_CTX_ctrl(state->context, EVP_CTRL_AEAD_SET_IVLEN, (int)p->iv_len, NULL) != 1)
    return CKR_MECHANISM_PARAM_INVALID;
  return EVP_CipherInit_ex2(state->context, NULL, NULL, p->iv, state->encrypt, NULL) == 1 ? CKR_OK
                                                                                          : CKR_FUNCTION_FAILED;
}

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  struct tok_aead_param p;
  CK_RV rv = tok_aead_read(op->mech->arg, mechanism, &p);
  if (rv != CKR_OK) return rv;
  if (p.iv_len > INT_MAX) return CKR_MECHANISM_PARAM_INVALID;
  struct state *state = (struct state *)tok_park_take(op->key, op->mech, op->kind);
  bool fresh = state == NULL;
  if (fresh) state = tok_alloc(sizeof *state);
  if (state == NULL) return CKR_HOST_MEMORY;
  op->state = state;
  op->type = &aead_type;
  state->parked = (struct tok_parked){op->mech, op->kind, state_free};
  state->encrypt = op->kind == TOK_ENCRYPT;
  state->ccm = op->mech->arg == TOK_AES_CCM;
  state->finished = false;
  state->apart = op->message;
  state->tag_len = p.tag_len;
  state->data_len = p.data_len;
  rv = fresh ? make_context(op, state, &p) : reuse_context(state, &p);
  state->iv_len = p.iv_len;
  if (rv != CKR_OK || p.aad_len == 0) return rv;
  if (!state->ccm) return tok_cipher_feed(state->context, p.aad, p.aad_len, NULL, &(CK_ULONG){0});
  state->aad = tok_dup(p.aad, p.aad_len);
  state->aad_len = p.aad_len;
  return state->aad != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

CK_BYTE *tok_aead_tag(struct tok_op *message, CK_ULONG *len)
{
  struct state *state = message->state;
  *len = state->tag_len;
  return state->tag;
}

const struct tok_family tok_family_aead = {.cipher = start, .wrap = tok_aead_wrap, .unwrap = tok_aead_unwrap};
