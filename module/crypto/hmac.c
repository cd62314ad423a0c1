/* Family `hmac`: RFC 2104. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "crypto/hash_state.h"
#include "crypto/mac.h"
#include "crypto/mech.h"
#include "object/objects.h"

static CK_RV key_of(const struct tok_op *op, const CK_BYTE **key, CK_ULONG *len)
{
  *key = tok_attrs_get(&op->key->attrs, CKA_VALUE, len);
  if (*key == NULL) return CKR_KEY_HANDLE_INVALID;
  return *len < op->mech->min || *len > op->mech->max ? CKR_KEY_SIZE_RANGE : CKR_OK;
}

/* --- hashes whose state is open: the key is in the states before the data --------------------------------------- */

struct open {
  struct tok_hash_state inner, outer, now;
};

/* `state` of one block, the key XORed with `pad`. */
static CK_RV begin_with(struct tok_hash_state *state, enum tok_hash hash, const CK_BYTE *block, CK_BYTE pad)
{
  CK_BYTE padded[TOK_MAX_HASH_BLOCK];
  size_t size = tok_hash_block(hash);
  for (size_t i = 0; i < size; i++) padded[i] = block[i] ^ pad;
  CK_RV rv = tok_hash_begin(state, hash);
  if (rv == CKR_OK) rv = tok_hash_update(state, padded, size);
  OPENSSL_cleanse(padded, sizeof padded);
  return rv;
}

static CK_RV open_make(struct tok_op *op, void *own)
{
  struct open *hmac = own;
  enum tok_hash hash = TOK_HASH_OF(op->mech->arg);
  const CK_BYTE *key = NULL;
  CK_ULONG len = 0;
  CK_RV rv = key_of(op, &key, &len);
  if (rv != CKR_OK) return rv;
  CK_BYTE block[TOK_MAX_HASH_BLOCK] = {0};
  if (len > tok_hash_block(hash))
    rv = tok_hash_once(hash, key, len, block);
  else
    memcpy(block, key, len);
  if (rv == CKR_OK) rv = begin_with(&hmac->inner, hash, block, 0x36);
  if (rv == CKR_OK) rv = begin_with(&hmac->outer, hash, block, 0x5c);
  OPENSSL_cleanse(block, sizeof block);
  return rv;
}

static CK_RV open_begin(void *own)
{
  struct open *hmac = own;
  hmac->now = hmac->inner;
  return CKR_OK;
}

static CK_RV open_update(void *own, const CK_BYTE *in, CK_ULONG len)
{
  return tok_hash_update(&((struct open *)own)->now, in, len);
}

static CK_RV open_finish(void *own, CK_BYTE *mac, CK_ULONG *len)
{
  struct open *hmac = own;
  *len = tok_hash_size(hmac->now.hash);
  CK_RV rv = tok_hash_finish(&hmac->now, mac);
  hmac->now = hmac->outer;
  if (rv == CKR_OK) rv = tok_hash_update(&hmac->now, mac, *len);
  return rv == CKR_OK ? tok_hash_finish(&hmac->now, mac) : rv;
}

static void open_free(void *own)
{
  (void)own; /* it points to nothing, and who frees it wipes it */
}

static bool open_save(void *own, struct tok_saving *to)
{
  tok_hash_save(&((struct open *)own)->now, to);
  return true;
}

static bool open_restore(void *own, struct tok_saved *from)
{
  return tok_hash_restore(&((struct open *)own)->now, from);
}

static const struct tok_mac_type open_type = {sizeof(struct open), open_make, open_begin, open_update,
                                              open_finish,         open_free, open_save,  open_restore};

/* --- the others: by EVP_MAC ------------------------------------------------------------------------------------- */

struct closed {
  EVP_MAC_CTX *context;
};

static CK_RV closed_make(struct tok_op *op, void *own)
{
  struct closed *hmac = own;
  const CK_BYTE *key = NULL;
  CK_ULONG len = 0;
  CK_RV rv = key_of(op, &key, &len);
  if (rv != CKR_OK) return rv;
  hmac->context = EVP_MAC_CTX_new(tok_hmac());
  if (hmac->context == NULL) return CKR_HOST_MEMORY;
  return tok_hmac_init(hmac->context, TOK_HASH_OF(op->mech->arg), key, len);
}

/* Without a key: begins again with the one that is there. */
static CK_RV closed_begin(void *own)
{
  return EVP_MAC_init(((struct closed *)own)->context, NULL, 0, NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV closed_update(void *own, const CK_BYTE *in, CK_ULONG len)
{
  return EVP_MAC_update(((struct closed *)own)->context, in, len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV closed_finish(void *own, CK_BYTE *mac, CK_ULONG *len)
{
  return EVP_MAC_final(((struct closed *)own)->context, mac, len, TOK_MAX_HASH) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static void closed_free(void *own)
{
  EVP_MAC_CTX_free(((struct closed *)own)->context);
}

static const struct tok_mac_type closed_type = {sizeof(struct closed), closed_make, closed_begin, closed_update,
                                                closed_finish,         closed_free, NULL,         NULL};

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  enum tok_hash hash = TOK_HASH_OF(op->mech->arg);
  return tok_mac_start(op, mechanism, tok_hash_size(hash), tok_hash_open(hash) ? &open_type : &closed_type);
}

const struct tok_family tok_family_hmac = {.sign = start};
