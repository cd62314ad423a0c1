/* Unwrapping with CKM_RSA_PKCS. Nothing here branches on, or looks up by, what was decrypted until the choice between it and
 * its substitute is made. */
#include "crypto/pkcs1_unwrap.h"

#include <openssl/crypto.h>
#include <stdint.h>
#include <string.h>

#include "core/module.h"
#include "crypto/hash.h"
#include "crypto/mech.h"
#include "crypto/op.h"
#include "crypto/secret.h"
#include "object/objects.h"

#define KDK 32 /* bytes of SHA-256 */

/* All ones if the statement is true, else 0. The values are below 2^31. */
static uint32_t mask_less(uint32_t a, uint32_t b)
{
  return 0 - ((a - b) >> 31);
}
static uint32_t mask_zero(uint32_t a)
{
  return 0 - ((~a & (a - 1)) >> 31);
}
static uint32_t mask_equal(uint32_t a, uint32_t b)
{
  return mask_zero(a ^ b);
}

/* The key of the substitutes: from the private exponent and what was sent. */
static CK_RV substitute_key(const struct tok_object *key, const CK_BYTE *wrapped, CK_ULONG len, CK_BYTE kdk[KDK])
{
  CK_ULONG secret_len;
  const CK_BYTE *secret = tok_attrs_get(&key->attrs, CKA_PRIVATE_EXPONENT, &secret_len);
  if (secret == NULL) secret = tok_attrs_get(&key->attrs, CKA_PRIME_1, &secret_len);
  if (secret == NULL) return CKR_KEY_TYPE_INCONSISTENT;
  CK_BYTE hashed[KDK];
  CK_RV rv = tok_hash_once(TOK_SHA256, secret, secret_len, hashed);
  if (rv == CKR_OK) rv = tok_hmac_once(TOK_SHA256, hashed, sizeof hashed, wrapped, len, kdk);
  OPENSSL_cleanse(hashed, sizeof hashed);
  return rv;
}

/* `len` bytes that look random, of the kdk and a number. */
static CK_RV expand(const CK_BYTE kdk[KDK], uint32_t number, CK_BYTE *out, CK_ULONG len)
{
  CK_BYTE block[KDK];
  CK_RV rv = CKR_OK;
  for (uint32_t i = 0; len > 0 && rv == CKR_OK; i++) {
    uint32_t input[2] = {number, i};
    CK_ULONG part = len < sizeof block ? len : sizeof block;
    rv = tok_hmac_once(TOK_SHA256, kdk, KDK, input, sizeof input, block);
    memcpy(out, block, part);
    out += part;
    len -= part;
  }
  OPENSSL_cleanse(block, sizeof block);
  return rv;
}

/* Marks, in ok[0..max], the lengths that the key may have; returns their number. */
static uint32_t lengths(CK_KEY_TYPE type, CK_ULONG len, CK_ULONG max, CK_BYTE *ok)
{
  uint32_t count = 0;
  for (CK_ULONG i = 1; i <= max; i++) {
    ok[i] = tok_secret_size_ok(type, i) && (len == 0 || i == len);
    count += ok[i];
  }
  return count;
}

/* One of the marked lengths, by chance that comes from the kdk. */
static CK_RV substitute_length(const CK_BYTE kdk[KDK], const CK_BYTE *ok, CK_ULONG max, uint32_t count, uint32_t *len)
{
  uint64_t chance;
  CK_RV rv = expand(kdk, 1, (CK_BYTE *)&chance, sizeof chance);
  uint32_t at = (uint32_t)(chance % count);
  for (CK_ULONG i = 1; i <= max; i++) {
    *len |= (uint32_t)i & mask_zero(at) & (0 - (uint32_t)ok[i]);
    at -= ok[i];
  }
  return rv;
}

/* All ones, and the length of the message, if the block is 00 02, eight bytes or more that are not 0, 00, and a message of
 * one of the marked lengths (RFC 8017, 7.2.2). */
static uint32_t padding(const CK_BYTE *block, uint32_t size, const CK_BYTE *ok, CK_ULONG max, uint32_t *len)
{
  uint32_t good = mask_zero(block[0]) & mask_equal(block[1], 2), looking = ~(uint32_t)0, end = 0, marked = 0;
  for (uint32_t i = 2; i < size; i++) {
    uint32_t zero = mask_zero(block[i]);
    end |= i & looking & zero;
    looking &= ~zero;
  }
  good &= ~looking & ~mask_less(end, 10);
  *len = (size - 1 - end) & good;
  for (uint32_t i = 1; i <= max; i++) marked |= mask_equal(i, *len) & (0 - (uint32_t)ok[i]);
  return good & marked;
}

CK_RV tok_pkcs1_unwrap(struct tok_object *key, const CK_BYTE *wrapped, CK_ULONG wrapped_len, CK_KEY_TYPE type,
                       CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  CK_MECHANISM mechanism = {CKM_RSA_X_509, NULL, 0};
  const struct tok_mech *raw = tok_mech_find(CKM_RSA_X_509);
  if (raw == NULL) return CKR_MECHANISM_INVALID;
  CK_BYTE kdk[KDK], *block = NULL, *ok = NULL, *result = NULL;
  CK_ULONG size = 0, max = 0;
  CK_RV rv = tok_op_run(raw, TOK_DECRYPT, &mechanism, key, wrapped, wrapped_len, &block, &size);
  if (rv != CKR_OK) return rv;
  rv = CKR_ENCRYPTED_DATA_LEN_RANGE;
  if (size != wrapped_len || size <= 11) goto out;
  max = size - 11;
  rv = CKR_HOST_MEMORY;
  ok = tok_alloc(max + 1);
  result = tok_alloc(max);
  if (ok == NULL || result == NULL) goto out;
  uint32_t count = lengths(type, len, max, ok), real_len = 0, other_len = 0;
  rv = CKR_ENCRYPTED_DATA_LEN_RANGE; /* no such key fits into this modulus */
  if (count == 0) goto out;
  rv = substitute_key(key, wrapped, wrapped_len, kdk);
  if (rv == CKR_OK) rv = substitute_length(kdk, ok, max, count, &other_len);
  if (rv == CKR_OK) rv = expand(kdk, 2, result, max);
  if (rv != CKR_OK) goto out;
  uint32_t good = padding(block, (uint32_t)size, ok, max, &real_len);
  /* From here on the length is known to all. */
  *out_len = (real_len & good) | (other_len & ~good);
  for (CK_ULONG i = 0; i < *out_len; i++)
    result[i] = (CK_BYTE)((block[size - *out_len + i] & good) | (result[i] & ~good));
  OPENSSL_cleanse(result + *out_len, max - *out_len);
  *out = result;
  result = NULL;
out:
  OPENSSL_cleanse(kdk, sizeof kdk);
  tok_wipe_free(block, size);
  tok_wipe_free(ok, max + 1);
  tok_wipe_free(result, max);
  return rv;
}
