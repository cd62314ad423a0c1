/* The pseudo-random functions of SSL 3.0 and TLS 1.0 to 1.2. OpenSSL's TLS1-PRF is not used: in 3.0 it takes no more
 * than 1024 bytes of seed, and exporters may have more. */
#include "crypto/tls_prf.h"

#include <openssl/crypto.h>
#include <string.h>

#include "core/module.h"

/* P_hash of RFC 5246, 5, added to `out` with XOR. A(i) is computed in front of the seed, where it is needed. */
static CK_RV p_hash(enum tok_hash hash, struct tok_span secret, const CK_BYTE *seed, CK_ULONG seed_len, CK_BYTE *out,
                    CK_ULONG len)
{
  CK_BYTE block[64];
  CK_ULONG h = tok_hash_size(hash), size = h + seed_len, done = 0;
  CK_BYTE *input = tok_alloc(size);
  if (input == NULL) return CKR_HOST_MEMORY;
  memcpy(input + h, seed, seed_len);
  CK_RV rv = tok_hmac_once(hash, secret.data, secret.len, seed, seed_len, block);
  while (rv == CKR_OK && done < len) {
    memcpy(input, block, h); /* A(i) */
    rv = tok_hmac_once(hash, secret.data, secret.len, input, size, block);
    for (CK_ULONG i = 0; rv == CKR_OK && i < h && done < len; i++) out[done++] ^= block[i];
    if (rv == CKR_OK && done < len) rv = tok_hmac_once(hash, secret.data, secret.len, input, h, block);
  }
  OPENSSL_cleanse(block, sizeof block);
  tok_wipe_free(input, size);
  return rv;
}

CK_RV tok_tls_prf(enum tok_hash hash, struct tok_span secret, const struct tok_span *seed, size_t count, CK_BYTE *out,
                  CK_ULONG len)
{
  CK_ULONG size = 0, at = 0;
  for (size_t i = 0; i < count; i++) size += seed[i].len;
  CK_BYTE *joined = tok_alloc(size + 1);
  if (joined == NULL) return CKR_HOST_MEMORY;
  for (size_t i = 0; i < count; i++) {
    if (seed[i].len > 0) memcpy(joined + at, seed[i].data, seed[i].len);
    at += seed[i].len;
  }
  memset(out, 0, len);
  CK_RV rv;
  if (hash != TOK_HASH_NONE) {
    rv = p_hash(hash, secret, joined, size, out, len);
  } else {
    /* RFC 2246, 5: two halves, which share a byte if the secret has an odd number of them. */
    CK_ULONG half = (secret.len + 1) / 2;
    rv = p_hash(TOK_MD5, (struct tok_span){secret.data, half}, joined, size, out, len);
    if (rv == CKR_OK)
      rv = p_hash(TOK_SHA1, (struct tok_span){secret.data + (secret.len - half), half}, joined, size, out, len);
  }
  tok_wipe_free(joined, size + 1);
  return rv;
}

CK_RV tok_ssl3_prf(struct tok_span secret, struct tok_span r1, struct tok_span r2, CK_BYTE *out, CK_ULONG len)
{
  enum { ROUNDS = 26, MD5_SIZE = 16, SHA_SIZE = 20 };
  CK_BYTE md5[MD5_SIZE];
  if (len > ROUNDS * MD5_SIZE) return CKR_FUNCTION_FAILED;
  CK_ULONG room = ROUNDS + secret.len + r1.len + r2.len, rest = SHA_SIZE + secret.len;
  if (room < rest) room = rest;
  CK_BYTE *input = tok_alloc(room);
  if (input == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = CKR_OK;
  for (CK_ULONG i = 0, done = 0; rv == CKR_OK && done < len; i++) {
    CK_BYTE *at = input, sha[SHA_SIZE];
    memset(at, 'A' + (int)i, i + 1);
    at += i + 1;
    memcpy(at, secret.data, secret.len);
    at += secret.len;
    memcpy(at, r1.data, r1.len);
    at += r1.len;
    memcpy(at, r2.data, r2.len);
    at += r2.len;
    rv = tok_hash_once(TOK_SHA1, input, (size_t)(at - input), sha);
    if (rv != CKR_OK) break;
    memcpy(input, secret.data, secret.len);
    memcpy(input + secret.len, sha, SHA_SIZE);
    rv = tok_hash_once(TOK_MD5, input, rest, md5);
    CK_ULONG part = len - done < MD5_SIZE ? len - done : MD5_SIZE;
    if (rv == CKR_OK) memcpy(out + done, md5, part);
    done += part;
    OPENSSL_cleanse(sha, sizeof sha);
  }
  OPENSSL_cleanse(md5, sizeof md5);
  tok_wipe_free(input, room);
  return rv;
}

bool tok_tls_prf_of(CK_MECHANISM_TYPE mechanism, enum tok_hash *hash)
{
  *hash = mechanism == CKM_TLS_PRF ? TOK_HASH_NONE : tok_hash_by_mechanism(mechanism);
  return mechanism == CKM_TLS_PRF || *hash != TOK_HASH_NONE;
}
