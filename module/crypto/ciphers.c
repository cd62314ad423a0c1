/* Symmetric ciphers of OpenSSL. */
#include "crypto/ciphers.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "object/objects.h"

enum { SIZES = 3 };

/* OpenSSL's names by length of the key, and the lengths: `min` to `max` bytes in steps. */
/* clang-format off */
#define AES(mode) {{"AES-128-" mode, "AES-192-" mode, "AES-256-" mode}, 16, 32, 8}
#define ONE(name, min, max) {{name, name, name}, min, max, 1}
static const struct {
  const char *names[SIZES];
  unsigned short min, max, step;
} ciphers[] = {
  [TOK_AES_ECB] = AES("ECB"),          [TOK_AES_CBC] = AES("CBC"),       [TOK_AES_CBC_PAD] = AES("CBC"),
  [TOK_AES_CTR] = AES("CTR"),          [TOK_AES_CTS] = AES("CBC-CTS"),   [TOK_AES_OFB] = AES("OFB"),
  [TOK_AES_CFB8] = AES("CFB8"),        [TOK_AES_CFB128] = AES("CFB"),    [TOK_AES_GCM] = AES("GCM"),
  [TOK_AES_CCM] = AES("CCM"),          [TOK_KW] = AES("WRAP"),           [TOK_KW_PAD] = AES("WRAP"),
  [TOK_KWP] = AES("WRAP-PAD"),
  [TOK_DES3_ECB] = ONE("DES-EDE3-ECB", 24, 24),
  [TOK_DES3_CBC] = ONE("DES-EDE3-CBC", 24, 24),
  [TOK_DES3_CBC_PAD] = ONE("DES-EDE3-CBC", 24, 24),
  [TOK_DES_ECB] = ONE("DES-ECB", 8, 8),
  [TOK_DES_CBC] = ONE("DES-CBC", 8, 8),
  [TOK_DES_CBC_PAD] = ONE("DES-CBC", 8, 8),
  [TOK_RC2_ECB] = ONE("RC2-ECB", 1, 128),
  [TOK_RC2_CBC] = ONE("RC2-CBC", 1, 128),
  [TOK_RC2_CBC_PAD] = ONE("RC2-CBC", 1, 128),
  [TOK_RC4] = ONE("RC4", 1, 256),
  [TOK_CHACHA20_POLY1305] = ONE("ChaCha20-Poly1305", 32, 32),
};
#undef AES
#undef ONE
/* clang-format on */
#define CIPHERS (sizeof ciphers / sizeof ciphers[0])

static _Atomic(EVP_CIPHER *) fetched[CIPHERS][SIZES];

CK_RV tok_cipher_key(const struct tok_object *object, unsigned cipher, struct tok_cipher_key *key)
{
  key->bytes = tok_attrs_get(&object->attrs, CKA_VALUE, &key->len);
  if (key->bytes == NULL) return CKR_KEY_HANDLE_INVALID;
  /* Two parts, the first used again as the third (FIPS 46-3, keying option 2): CKK_DES2, and CKK_DES3 for some. */
  if (ciphers[cipher].min == 24 && key->len == 16) {
    memcpy(key->expanded, key->bytes, 16);
    memcpy(key->expanded + 16, key->bytes, 8);
    key->bytes = key->expanded;
    key->len = 24;
  }
  if (key->len < ciphers[cipher].min || key->len > ciphers[cipher].max) return CKR_KEY_SIZE_RANGE;
  return (key->len - ciphers[cipher].min) % ciphers[cipher].step == 0 ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

EVP_CIPHER *tok_cipher_fetch(unsigned cipher, CK_ULONG len)
{
  CK_ULONG size = ciphers[cipher].step == 1 ? 0 : (len - ciphers[cipher].min) / ciphers[cipher].step;
  EVP_CIPHER *known = atomic_load_explicit(&fetched[cipher][size], memory_order_acquire);
  if (known != NULL) return known;
  EVP_CIPHER *fresh = EVP_CIPHER_fetch(tok_module->crypto, ciphers[cipher].names[size], NULL);
  if (fresh == NULL || atomic_compare_exchange_strong(&fetched[cipher][size], &known, fresh)) return fresh;
  EVP_CIPHER_free(fresh); /* another thread was faster */
  return known;
}

void tok_ciphers_unload(void)
{
  for (size_t i = 0; i < CIPHERS; i++)
    for (size_t j = 0; j < SIZES; j++) EVP_CIPHER_free(atomic_exchange(&fetched[i][j], NULL));
}

void tok_ciphers_abandon(void)
{
  for (size_t i = 0; i < CIPHERS; i++)
    for (size_t j = 0; j < SIZES; j++) atomic_store(&fetched[i][j], NULL);
}

CK_RV tok_cipher_feed(EVP_CIPHER_CTX *context, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  const CK_ULONG most = 1ul << 30; /* a multiple of every block */
  CK_ULONG done = 0;
  while (len > 0) {
    int part = (int)(len < most ? len : most), written = 0;
    if (EVP_CipherUpdate(context, out, &written, in, part) != 1) return CKR_FUNCTION_FAILED;
    in += part;
    len -= (CK_ULONG)part;
    if (out != NULL) out += written;
    done += (CK_ULONG)written;
  }
  *out_len = done;
  return CKR_OK;
}
