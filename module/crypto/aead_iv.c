/* Nonces that the token makes (CK_GENERATOR_FUNCTION). */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include "core/module.h"
#include "crypto/aead.h"

/* Fewer random bits than these would repeat before long. */
#define FEWEST_RANDOM 64

/* Bits of byte `i` that are fixed; they are counted from the left of the first byte. */
static CK_BYTE keep(CK_ULONG fixed_bits, CK_ULONG i)
{
  CK_ULONG fixed = fixed_bits > 8 * i ? fixed_bits - 8 * i : 0;
  return fixed >= 8 ? 0xff : (CK_BYTE)(0xff00 >> fixed);
}

static uint64_t power(CK_ULONG bits)
{
  return bits < 64 ? UINT64_C(1) << bits : UINT64_MAX;
}

/* How many nonces may be made with that many free bits: all with a counter; with random ones as many as repeat with a
 * probability of at most 2^-32, which is 2^32 of them with 96 bits (SP 800-38D, 8 and 8.3). */
static uint64_t possible(CK_GENERATOR_FUNCTION generator, CK_ULONG bits)
{
  return power(generator == CKG_GENERATE_RANDOM ? (bits - 32) / 2 : bits);
}

/* CKG_GENERATE leaves the way to the token: at random if there is room, because a counter would begin again with the next
 * operation of the same key. */
static CK_RV choose(CK_GENERATOR_FUNCTION *generator, const CK_BYTE *iv, CK_ULONG iv_len, CK_ULONG fixed_bits)
{
  if (iv == NULL || iv_len == 0 || iv_len > TOK_MAX_IV || fixed_bits >= 8 * iv_len) return CKR_MECHANISM_PARAM_INVALID;
  CK_ULONG bits = 8 * iv_len - fixed_bits;
  switch (*generator) {
    case CKG_GENERATE: *generator = bits >= FEWEST_RANDOM ? CKG_GENERATE_RANDOM : CKG_GENERATE_COUNTER; return CKR_OK;
    case CKG_GENERATE_RANDOM: return bits >= FEWEST_RANDOM ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    case CKG_GENERATE_COUNTER:
    case CKG_GENERATE_COUNTER_XOR: return CKR_OK;
    default: return CKR_MECHANISM_PARAM_INVALID;
  }
}

/* The counter as wide as the nonce, at its right end. */
static void count(uint64_t number, CK_BYTE *bytes, CK_ULONG len)
{
  memset(bytes, 0, len);
  for (CK_ULONG i = 0; i < len && i < sizeof number; i++) bytes[len - 1 - i] = (CK_BYTE)(number >> 8 * i);
}

/* The free bits of the next nonce of the series. */
static CK_RV next(struct tok_iv_series *series, CK_BYTE *fresh)
{
  if (series->count == series->most) return CKR_FUNCTION_FAILED;
  if (series->generator == CKG_GENERATE_RANDOM) {
    if (RAND_bytes_ex(tok_module->crypto, fresh, series->iv_len, 0) != 1) return CKR_FUNCTION_FAILED;
  } else {
    count(series->count, fresh, series->iv_len);
    if (series->generator == CKG_GENERATE_COUNTER_XOR)
      for (CK_ULONG i = 0; i < series->iv_len; i++) fresh[i] ^= series->base[i];
  }
  series->count++;
  return CKR_OK;
}

CK_RV tok_aead_make_iv(struct tok_iv_series *series, CK_GENERATOR_FUNCTION generator, CK_BYTE *iv, CK_ULONG iv_len,
                       CK_ULONG fixed_bits)
{
  struct tok_iv_series only = {0};
  CK_BYTE fresh[TOK_MAX_IV];
  if (generator != CKG_NO_GENERATE) {
    CK_RV rv = choose(&generator, iv, iv_len, fixed_bits);
    if (rv != CKR_OK) return rv;
  }
  if (series == NULL) {
    if (generator == CKG_GENERATE_COUNTER || generator == CKG_GENERATE_COUNTER_XOR) return CKR_MECHANISM_PARAM_INVALID;
    series = &only;
  }
  if (!series->begun) {
    *series = (struct tok_iv_series){.begun = true, .generator = generator};
    if (generator == CKG_NO_GENERATE) return CKR_OK;
    series->iv_len = iv_len;
    series->fixed_bits = fixed_bits;
    series->most = possible(generator, 8 * iv_len - fixed_bits);
    memcpy(series->base, iv, iv_len);
  }
  if (series->generator != generator) return CKR_MECHANISM_PARAM_INVALID;
  if (generator == CKG_NO_GENERATE) return CKR_OK;
  if (series->iv_len != iv_len || series->fixed_bits != fixed_bits) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = next(series, fresh);
  for (CK_ULONG i = 0; i < iv_len && rv == CKR_OK; i++)
    iv[i] = (CK_BYTE)((iv[i] & keep(fixed_bits, i)) | (fresh[i] & ~keep(fixed_bits, i)));
  return rv;
}
