/* Family `keywrap`: AES key wrap, in one part.
 *
 * Which mechanism is which changed over the versions of the standard:
 *   CKM_AES_KEY_WRAP          RFC 3394
 *   CKM_AES_KEY_WRAP_KWP      RFC 5649 (3.0 and later)
 *   CKM_AES_KEY_WRAP_PKCS7    padded as PKCS #7 does, to 8 bytes, then RFC 3394 (3.1 and later)
 *   CKM_AES_KEY_WRAP_PAD      deprecated in 3.2, which only says to use one of the other two
 *
 * In 2.40 PAD was what is now PKCS7, and so NSS has it (lib/softoken/pkcs11c.c, also as CKM_NSS_AES_KEY_WRAP_PAD),
 * while SoftHSM has RFC 5649. So PAD writes what PKCS7 does, and reads both: they begin with different check values, so
 * one is never taken for the other. */
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/ciphers.h"
#include "crypto/mech.h"
#include "crypto/op.h"
#include "object/objects.h"

enum { SEMIBLOCK = 8, LONGEST = INT_MAX - 64 };

struct state {
  CK_BYTE iv[SEMIBLOCK];
  bool own_iv;             /* the caller's initial value instead of the standard's */
  EVP_CIPHER_CTX *context; /* NULL until the step */
};

static CK_ULONG up_to_semiblock(CK_ULONG len)
{
  return (len + SEMIBLOCK - 1) / SEMIBLOCK * SEMIBLOCK;
}

static CK_RV wrap_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  (void)step;
  unsigned arg = op->mech->arg;
  if (op->kind == TOK_DECRYPT) {
    /* RFC 3394 has no less than two semiblocks, RFC 5649 makes one of two. */
    CK_ULONG least = arg == TOK_KW ? 3 * SEMIBLOCK : 2 * SEMIBLOCK;
    if (in < least || in > LONGEST || in % SEMIBLOCK != 0) return CKR_ENCRYPTED_DATA_LEN_RANGE;
    *out = in - SEMIBLOCK;
    *exact = arg == TOK_KW;
    return CKR_OK;
  }
  if (in > LONGEST) return CKR_DATA_LEN_RANGE;
  CK_ULONG padded = arg == TOK_KW_PAD ? up_to_semiblock(in + 1) : up_to_semiblock(in);
  if (arg == TOK_KW && padded != in) return CKR_DATA_LEN_RANGE;
  if (padded < (arg == TOK_KWP ? SEMIBLOCK : 2 * SEMIBLOCK)) return CKR_DATA_LEN_RANGE;
  *out = padded + SEMIBLOCK;
  return CKR_OK;
}

/* One of OpenSSL's two, whole: TOK_KW or TOK_KWP. */
static CK_RV compute(struct tok_op *op, unsigned cipher_id, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out,
                     CK_ULONG *out_len)
{
  struct state *state = op->state;
  struct tok_cipher_key key;
  int written = 0;
  CK_RV rv = tok_cipher_key(op->key, cipher_id, &key);
  if (rv != CKR_OK) goto out;
  rv = CKR_FUNCTION_FAILED;
  EVP_CIPHER *cipher = tok_cipher_fetch(cipher_id, key.len);
  EVP_CIPHER_CTX_free(state->context);
  state->context = EVP_CIPHER_CTX_new();
  if (cipher == NULL || state->context == NULL) goto out;
  EVP_CIPHER_CTX_set_flags(state->context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  const CK_BYTE *iv = state->own_iv ? state->iv : NULL;
  if (EVP_CipherInit_ex2(state->context, cipher, key.bytes, iv, op->kind == TOK_ENCRYPT, NULL) != 1) goto out;
  if (EVP_CipherUpdate(state->context, out, &written, in, (int)len) == 1 && written > 0)
    rv = CKR_OK;
  else if (op->kind == TOK_DECRYPT)
    rv = CKR_ENCRYPTED_DATA_INVALID;
  *out_len = (CK_ULONG)written;
out:
  OPENSSL_cleanse(&key, sizeof key);
  return rv;
}

static CK_RV pad_and_wrap(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  CK_ULONG padded = up_to_semiblock(len + 1);
  CK_BYTE *copy = tok_alloc(padded);
  if (copy == NULL) return CKR_HOST_MEMORY;
  if (len > 0) memcpy(copy, in, len);
  memset(copy + len, (int)(padded - len), padded - len);
  CK_RV rv = compute(op, TOK_KW, copy, padded, out, out_len);
  tok_wipe_free(copy, padded);
  return rv;
}

/* `out` may be `in`, so what is tried first goes elsewhere. */
static CK_RV unwrap_and_unpad(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  const struct state *state = op->state;
  CK_BYTE *plain = tok_alloc(len);
  CK_ULONG plain_len = 0;
  if (plain == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = len < 3 * SEMIBLOCK ? CKR_ENCRYPTED_DATA_INVALID : compute(op, TOK_KW, in, len, plain, &plain_len);
  if (rv == CKR_OK) {
    CK_BYTE pad = plain[plain_len - 1];
    if (pad < 1 || pad > SEMIBLOCK) rv = CKR_ENCRYPTED_DATA_INVALID;
    for (CK_ULONG i = 0; i < pad && rv == CKR_OK; i++)
      if (plain[plain_len - 1 - i] != pad) rv = CKR_ENCRYPTED_DATA_INVALID;
    plain_len -= rv == CKR_OK ? pad : 0;
  } else if (rv == CKR_ENCRYPTED_DATA_INVALID && !state->own_iv && op->mech->type != CKM_AES_KEY_WRAP_PKCS7) {
    rv = compute(op, TOK_KWP, in, len, plain, &plain_len);
  }
  if (rv == CKR_OK) {
    memcpy(out, plain, plain_len);
    *out_len = plain_len;
  }
  tok_wipe_free(plain, len);
  return rv;
}

static CK_RV wrap_single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  if (op->mech->arg != TOK_KW_PAD) return compute(op, op->mech->arg, in, len, out, out_len);
  if (op->kind == TOK_ENCRYPT) return pad_and_wrap(op, in, len, out, out_len);
  return unwrap_and_unpad(op, in, len, out, out_len);
}

static void wrap_free(struct tok_op *op)
{
  struct state *state = op->state;
  if (state == NULL) return;
  EVP_CIPHER_CTX_free(state->context);
  tok_wipe_free(state, sizeof *state);
  op->state = NULL;
}

static const struct tok_op_type wrap_type = {.room = wrap_room, .single = wrap_single, .free = wrap_free};

/* The initial value is optional: 8 bytes, 4 for RFC 5649 (PKCS #11 3.2, 6.16.2). */
static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  CK_ULONG iv_len = op->mech->arg == TOK_KWP ? SEMIBLOCK / 2 : SEMIBLOCK;
  const CK_BYTE *iv = tok_mech_param(mechanism, iv_len);
  if (iv == NULL && !tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  struct tok_cipher_key key;
  CK_RV rv = tok_cipher_key(op->key, op->mech->arg, &key);
  OPENSSL_cleanse(&key, sizeof key);
  if (rv != CKR_OK) return rv;
  struct state *state = tok_alloc(sizeof *state);
  if (state == NULL) return CKR_HOST_MEMORY;
  op->state = state;
  op->type = &wrap_type;
  state->own_iv = iv != NULL;
  if (iv != NULL) memcpy(state->iv, iv, iv_len);
  return CKR_OK;
}

/* CKM_AES_KEY_WRAP pads a key with zeros to whole semiblocks, which C_Encrypt does not do to data (6.16.3). */
static CK_RV wrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *wrapping_key,
                  const CK_BYTE *secret, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  if (mech->arg != TOK_KW || len % SEMIBLOCK == 0 || len > LONGEST)
    return tok_op_run(mech, TOK_ENCRYPT, mechanism, wrapping_key, secret, len, out, out_len);
  CK_ULONG padded = up_to_semiblock(len);
  CK_BYTE *copy = tok_alloc(padded);
  if (copy == NULL) return CKR_HOST_MEMORY;
  memcpy(copy, secret, len);
  CK_RV rv = tok_op_run(mech, TOK_ENCRYPT, mechanism, wrapping_key, copy, padded, out, out_len);
  tok_wipe_free(copy, padded);
  return rv;
}

const struct tok_family tok_family_keywrap = {.cipher = start, .wrap = wrap};
