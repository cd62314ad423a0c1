/* Digests with a state that can be saved. */
#define OPENSSL_SUPPRESS_DEPRECATED /* see hash_state.h: no other interface shows the state */
#include "crypto/hash_state.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

/* Where the members of OpenSSL's structures are: those of 32 bits and those of 64 bits differ in nothing else. */
struct layout {
  size_t words, low, high, block, filled; /* offsets */
  unsigned count, width;                  /* words of the chaining value, bytes of a word */
  unsigned size;                          /* bytes of a block */
};

/* clang-format off */
static const struct layout
  layout_md5    = {offsetof(MD5_CTX, A),     offsetof(MD5_CTX, Nl),    offsetof(MD5_CTX, Nh),    offsetof(MD5_CTX, data),
                   offsetof(MD5_CTX, num),    4, 4, MD5_CBLOCK},
  layout_sha1   = {offsetof(SHA_CTX, h0),    offsetof(SHA_CTX, Nl),    offsetof(SHA_CTX, Nh),    offsetof(SHA_CTX, data),
                   offsetof(SHA_CTX, num),    5, 4, SHA_CBLOCK},
  layout_sha256 = {offsetof(SHA256_CTX, h),  offsetof(SHA256_CTX, Nl), offsetof(SHA256_CTX, Nh), offsetof(SHA256_CTX, data),
                   offsetof(SHA256_CTX, num), 8, 4, SHA256_CBLOCK},
  layout_sha512 = {offsetof(SHA512_CTX, h),  offsetof(SHA512_CTX, Nl), offsetof(SHA512_CTX, Nh), offsetof(SHA512_CTX, u),
                   offsetof(SHA512_CTX, num), 8, 8, SHA512_CBLOCK};
/* clang-format on */

static const struct layout *layout(enum tok_hash hash)
{
  switch (hash) {
    case TOK_MD5: return &layout_md5;
    case TOK_SHA1: return &layout_sha1;
    case TOK_SHA224:
    case TOK_SHA256: return &layout_sha256;
    case TOK_SHA384:
    case TOK_SHA512:
    case TOK_SHA512_224:
    case TOK_SHA512_256: return &layout_sha512;
    default: return NULL;
  }
}

bool tok_hash_open(enum tok_hash hash)
{
  return layout(hash) != NULL;
}

size_t tok_hash_block(enum tok_hash hash)
{
  const struct layout *l = layout(hash);
  return l != NULL ? l->size : 0;
}

/* --- computing -------------------------------------------------------------------------------------------------- */

/* FIPS 180-4, 5.3.6: the initial values of the truncated forms, for which OpenSSL has no open function. */
static int truncated(SHA512_CTX *c, enum tok_hash hash)
{
  static const SHA_LONG64 initial[2][8] = {
      {0x8c3d37c819544da2, 0x73e1996689dcd4d6, 0x1dfab7ae32ff9c82, 0x679dd514582f9fcf, 0x0f6d2b697bd44da8,
       0x77e36f7304c48942, 0x3f9d85a86a1d36c8, 0x1112e6ad91d692a1},
      {0x22312194fc2bf72c, 0x9f555fa3c84c64c2, 0x2393b86b6f53b151, 0x963877195940eabd, 0x96283ee2a88effe3,
       0xbe5e1e2553863992, 0x2b0199fc2c85b8aa, 0x0eb72ddc81c52ca2},
  };
  if (SHA512_Init(c) != 1) return 0;
  memcpy(c->h, initial[hash == TOK_SHA512_256], sizeof c->h);
  c->md_len = hash == TOK_SHA512_256 ? SHA256_DIGEST_LENGTH : SHA224_DIGEST_LENGTH;
  return 1;
}

static CK_RV begin_evp(struct tok_hash_state *s)
{
  if (s->evp == NULL) s->evp = EVP_MD_CTX_new();
  if (s->evp == NULL) return CKR_HOST_MEMORY;
  return EVP_DigestInit_ex2(s->evp, tok_hash_md(s->hash), NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_hash_begin(struct tok_hash_state *s, enum tok_hash hash)
{
  int ok = 0;
  s->hash = hash;
  switch (hash) {
    case TOK_MD5: ok = MD5_Init(&s->u.md5); break;
    case TOK_SHA1: ok = SHA1_Init(&s->u.sha1); break;
    case TOK_SHA224: ok = SHA224_Init(&s->u.sha256); break;
    case TOK_SHA256: ok = SHA256_Init(&s->u.sha256); break;
    case TOK_SHA384: ok = SHA384_Init(&s->u.sha512); break;
    case TOK_SHA512: ok = SHA512_Init(&s->u.sha512); break;
    case TOK_SHA512_224:
    case TOK_SHA512_256: ok = truncated(&s->u.sha512, hash); break;
    default: return begin_evp(s);
  }
  return ok == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_hash_update(struct tok_hash_state *s, const void *data, size_t len)
{
  int ok = 0;
  switch (s->hash) {
    case TOK_MD5: ok = MD5_Update(&s->u.md5, data, len); break;
    case TOK_SHA1: ok = SHA1_Update(&s->u.sha1, data, len); break;
    case TOK_SHA224:
    case TOK_SHA256: ok = SHA256_Update(&s->u.sha256, data, len); break;
    case TOK_SHA384:
    case TOK_SHA512:
    case TOK_SHA512_224:
    case TOK_SHA512_256: ok = SHA512_Update(&s->u.sha512, data, len); break;
    default: ok = EVP_DigestUpdate(s->evp, data, len); break;
  }
  return ok == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_hash_finish(struct tok_hash_state *s, CK_BYTE *out)
{
  int ok = 0;
  switch (s->hash) {
    case TOK_MD5: ok = MD5_Final(out, &s->u.md5); break;
    case TOK_SHA1: ok = SHA1_Final(out, &s->u.sha1); break;
    case TOK_SHA224:
    case TOK_SHA256: ok = SHA256_Final(out, &s->u.sha256); break;
    case TOK_SHA384:
    case TOK_SHA512:
    case TOK_SHA512_224:
    case TOK_SHA512_256: ok = SHA512_Final(out, &s->u.sha512); break;
    default: ok = EVP_DigestFinal_ex(s->evp, out, NULL); break;
  }
  return ok == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

void tok_hash_clear(struct tok_hash_state *s)
{
  EVP_MD_CTX_free(s->evp);
  OPENSSL_cleanse(s, sizeof *s);
}

/* --- saving ----------------------------------------------------------------------------------------------------- */

static uint64_t word(const CK_BYTE *at, unsigned width)
{
  uint32_t narrow;
  uint64_t wide;
  memcpy(width == 4 ? (void *)&narrow : (void *)&wide, at, width);
  return width == 4 ? narrow : wide;
}

static void set_word(CK_BYTE *at, unsigned width, uint64_t value)
{
  uint32_t narrow = (uint32_t)value;
  memcpy(at, width == 4 ? (void *)&narrow : (void *)&value, width);
}

/* The chaining value, the number of bits so far, and what has come of the next block. */
void tok_hash_save(const struct tok_hash_state *s, struct tok_saving *to)
{
  const struct layout *l = layout(s->hash);
  const CK_BYTE *at = (const CK_BYTE *)&s->u;
  for (unsigned i = 0; i < l->count; i++) tok_save_number(to, word(at + l->words + i * l->width, l->width));
  tok_save_number(to, word(at + l->low, l->width));
  tok_save_number(to, word(at + l->high, l->width));
  tok_save_bytes(to, at + l->block, word(at + l->filled, 4));
}

bool tok_hash_restore(struct tok_hash_state *s, struct tok_saved *from)
{
  const struct layout *l = layout(s->hash);
  CK_BYTE *at = (CK_BYTE *)&s->u;
  if (l == NULL) return false;
  for (unsigned i = 0; i < l->count; i++) set_word(at + l->words + i * l->width, l->width, tok_saved_number(from));
  uint64_t low = tok_saved_number(from);
  set_word(at + l->low, l->width, low);
  set_word(at + l->high, l->width, tok_saved_number(from));
  size_t filled = 0;
  const CK_BYTE *block = tok_saved_bytes(from, &filled);
  if (from->bad || filled >= l->size || low / 8 % l->size != filled) return false;
  memcpy(at + l->block, block, filled);
  set_word(at + l->filled, 4, filled);
  return true;
}
