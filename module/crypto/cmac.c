/* Family `cmac`: NIST SP 800-38B with AES and with triple DES, computed by CBC, whose state can be saved; OpenSSL's own
 * CMAC keeps its state to itself, and enciphers one block at a time. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "crypto/args.h"
#include "crypto/ciphers.h"
#include "crypto/mac.h"
#include "crypto/mech.h"
#include "crypto/saving.h"
#include "object/objects.h"

enum { MOST_BLOCK = 16, AT_ONCE = 1024 };

struct cmac {
  EVP_CIPHER_CTX *cbc;
  unsigned block;                             /* bytes */
  CK_BYTE whole[MOST_BLOCK], cut[MOST_BLOCK]; /* K1 and K2: for a last block that is whole, and for one that is not */
  CK_BYTE last[MOST_BLOCK];                   /* what may be the last block */
  unsigned filled;                            /* bytes of it */
};

static bool is_aes(const struct tok_op *op)
{
  return (op->mech->arg & 0xff) == TOK_CMAC_AES;
}

/* Multiplies by x in the field of 2^128 or of 2^64 elements (6.1). */
static void twice(const CK_BYTE *in, CK_BYTE *out, unsigned block)
{
  CK_BYTE carry = in[0] >> 7;
  for (unsigned i = 0; i + 1 < block; i++) out[i] = (CK_BYTE)(in[i] << 1 | in[i + 1] >> 7);
  out[block - 1] = (CK_BYTE)(in[block - 1] << 1 ^ (carry != 0 ? (block == 16 ? 0x87 : 0x1b) : 0));
}

static CK_RV begin(void *own)
{
  static const CK_BYTE zeros[MOST_BLOCK];
  struct cmac *cmac = own;
  cmac->filled = 0;
  return EVP_CipherInit_ex2(cmac->cbc, NULL, NULL, zeros, 1, NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV subkeys(struct cmac *cmac)
{
  CK_BYTE zero[MOST_BLOCK] = {0};
  int written = 0;
  if (EVP_CipherUpdate(cmac->cbc, zero, &written, zero, (int)cmac->block) != 1) return CKR_FUNCTION_FAILED;
  twice(zero, cmac->whole, cmac->block);
  twice(cmac->whole, cmac->cut, cmac->block);
  OPENSSL_cleanse(zero, sizeof zero);
  return CKR_OK;
}

static CK_RV make(struct tok_op *op, void *own)
{
  static const CK_BYTE zeros[MOST_BLOCK];
  struct cmac *cmac = own;
  unsigned id = is_aes(op) ? TOK_AES_CBC : TOK_DES3_CBC;
  struct tok_cipher_key key;
  cmac->block = is_aes(op) ? 16 : 8;
  CK_RV rv = tok_cipher_key(op->key, id, &key);
  if (rv != CKR_OK) goto out;
  EVP_CIPHER *cipher = tok_cipher_fetch(id, key.len);
  cmac->cbc = EVP_CIPHER_CTX_new();
  if (cipher == NULL || cmac->cbc == NULL || EVP_CipherInit_ex2(cmac->cbc, cipher, key.bytes, zeros, 1, NULL) != 1 ||
      EVP_CIPHER_CTX_set_padding(cmac->cbc, 0) != 1)
    rv = CKR_FUNCTION_FAILED;
  if (rv == CKR_OK) rv = subkeys(cmac);
out:
  OPENSSL_cleanse(&key, sizeof key);
  return rv;
}

/* Whole blocks, none of which is the last. */
static CK_RV chain(struct cmac *cmac, const CK_BYTE *in, CK_ULONG len)
{
  CK_BYTE out[AT_ONCE];
  const size_t used = len < sizeof out ? len : sizeof out;
  int written = 0;
  CK_RV rv = CKR_OK;
  for (CK_ULONG part; len > 0 && rv == CKR_OK; in += part, len -= part) {
    part = len < sizeof out ? len : sizeof out;
    if (EVP_CipherUpdate(cmac->cbc, out, &written, in, (int)part) != 1) rv = CKR_FUNCTION_FAILED;
  }
  OPENSSL_cleanse(out, used);
  return rv;
}

static CK_RV update(void *own, const CK_BYTE *in, CK_ULONG len)
{
  struct cmac *cmac = own;
  CK_RV rv = CKR_OK;
  unsigned block = cmac->block;
  if (len == 0) return CKR_OK;
  if (cmac->filled > 0 || len <= block) {
    CK_ULONG part = len < block - cmac->filled ? len : block - cmac->filled;
    memcpy(cmac->last + cmac->filled, in, part);
    cmac->filled += (unsigned)part;
    in += part;
    len -= part;
    if (len == 0) return CKR_OK;
    rv = chain(cmac, cmac->last, block);
  }
  CK_ULONG now = (len - 1) / block * block;
  if (rv == CKR_OK) rv = chain(cmac, in, now);
  cmac->filled = (unsigned)(len - now);
  memcpy(cmac->last, in + now, cmac->filled);
  return rv;
}

static CK_RV finish(void *own, CK_BYTE *mac, CK_ULONG *len)
{
  struct cmac *cmac = own;
  unsigned block = cmac->block;
  bool whole = cmac->filled == block;
  int written = 0;
  if (!whole) {
    cmac->last[cmac->filled] = 0x80;
    memset(cmac->last + cmac->filled + 1, 0, block - cmac->filled - 1);
  }
  for (unsigned i = 0; i < block; i++) cmac->last[i] ^= whole ? cmac->whole[i] : cmac->cut[i];
  *len = block;
  return EVP_CipherUpdate(cmac->cbc, mac, &written, cmac->last, (int)block) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static void free_own(void *own)
{
  EVP_CIPHER_CTX_free(((struct cmac *)own)->cbc);
}

static bool save(void *own, struct tok_saving *to)
{
  struct cmac *cmac = own;
  CK_BYTE iv[MOST_BLOCK];
  if (EVP_CIPHER_CTX_get_updated_iv(cmac->cbc, iv, cmac->block) != 1) return false;
  tok_save_bytes(to, iv, cmac->block);
  tok_save_bytes(to, cmac->last, cmac->filled);
  OPENSSL_cleanse(iv, sizeof iv);
  return true;
}

static bool restore(void *own, struct tok_saved *from)
{
  struct cmac *cmac = own;
  CK_BYTE iv[MOST_BLOCK];
  size_t filled = 0;
  tok_saved_copy(from, iv, cmac->block);
  const CK_BYTE *last = tok_saved_bytes(from, &filled);
  if (from->bad || filled > cmac->block) return false;
  memcpy(cmac->last, last, filled);
  cmac->filled = (unsigned)filled;
  bool ok = EVP_CipherInit_ex2(cmac->cbc, NULL, NULL, iv, 1, NULL) == 1;
  OPENSSL_cleanse(iv, sizeof iv);
  return ok;
}

static const struct tok_mac_type type = {sizeof(struct cmac), make, begin, update, finish, free_own, save, restore};

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  return tok_mac_start(op, mechanism, is_aes(op) ? 16 : 8, &type);
}

const struct tok_family tok_family_cmac = {.sign = start};
