/* Multi-part work of NSS on a token: contexts that are interleaved, which NSS does on a token with one session by saving and
 * restoring its state (pk11cxt.c). Every result is compared with OpenSSL's.
 *
 *   nss_state DATABASE TOKEN PIN [ROUNDS]
 *
 * Ends with 0 if all are right; else says which is not. */
#include <nss.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pk11pub.h>
#include <secerr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 1000, CONTEXTS = 3 };

static unsigned char text[LENGTH], key_bytes[32], iv[16];
static int wrong;

static void compare(const char *what, const unsigned char *got, size_t got_len, const unsigned char *want,
                    size_t want_len)
{
  if (got_len == want_len && memcmp(got, want, want_len) == 0) return;
  fprintf(stderr, "%s: not what OpenSSL computes (%zu bytes, %zu expected)\n", what, got_len, want_len);
  wrong++;
}

static void must(const char *what, int ok)
{
  if (ok) return;
  fprintf(stderr, "%s: NSS error %d\n", what, PORT_GetError());
  exit(1);
}

static char *pin_of(PK11SlotInfo *slot, PRBool retry, void *pin)
{
  (void)slot;
  return retry ? NULL : PORT_Strdup(pin);
}

static PK11SymKey *import(PK11SlotInfo *slot, CK_MECHANISM_TYPE mechanism, CK_ATTRIBUTE_TYPE use, unsigned size)
{
  SECItem item = {siBuffer, key_bytes, size};
  PK11SymKey *key = PK11_ImportSymKey(slot, mechanism, PK11_OriginUnwrap, use, &item, NULL);
  must("PK11_ImportSymKey", key != NULL && PK11_GetSlotFromKey(key) == slot);
  return key;
}

/* What one context works on: its own part of the text, in pieces of its own length. */
static const unsigned char *part(int which, size_t *len)
{
  *len = LENGTH - 100 * (size_t)which;
  return text + 10 * which;
}

/* Feeds all contexts by turns, then ends them. */
static void digest_all(const char *what, PK11Context **contexts, unsigned char out[][64], unsigned *lens)
{
  for (size_t at = 0; at < LENGTH; at += 37) {
    for (int i = 0; i < CONTEXTS; i++) {
      size_t len = 0;
      const unsigned char *data = part(i, &len);
      if (at >= len) continue;
      must(what, PK11_DigestOp(contexts[i], data + at, (unsigned)(len - at < 37 ? len - at : 37)) == SECSuccess);
    }
  }
  for (int i = 0; i < CONTEXTS; i++) {
    must(what, PK11_DigestFinal(contexts[i], out[i], &lens[i], 64) == SECSuccess);
    PK11_DestroyContext(contexts[i], PR_TRUE);
  }
}

/* Three digests at a time: the same kind twice, and another one. The token is to be NSS's default for them. */
static void digests(void)
{
  static const SECOidTag kinds[CONTEXTS] = {SEC_OID_SHA256, SEC_OID_SHA256, SEC_OID_SHA512};
  PK11Context *contexts[CONTEXTS];
  unsigned char out[CONTEXTS][64], want[EVP_MAX_MD_SIZE];
  unsigned lens[CONTEXTS], want_len = 0;
  for (int i = 0; i < CONTEXTS; i++) {
    contexts[i] = PK11_CreateDigestContext(kinds[i]);
    must("PK11_CreateDigestContext", contexts[i] != NULL);
    must("PK11_DigestBegin", PK11_DigestBegin(contexts[i]) == SECSuccess);
  }
  digest_all("PK11_DigestOp", contexts, out, lens);
  for (int i = 0; i < CONTEXTS; i++) {
    size_t len = 0;
    const unsigned char *data = part(i, &len);
    EVP_Digest(data, len, want, &want_len, i == 2 ? EVP_sha512() : EVP_sha256(), NULL);
    compare("digest", out[i], lens[i], want, want_len);
  }
}

static void macs(PK11SlotInfo *slot)
{
  PK11SymKey *key = import(slot, CKM_SHA384_HMAC, CKA_SIGN, 32);
  PK11Context *contexts[CONTEXTS];
  unsigned char out[CONTEXTS][64], want[EVP_MAX_MD_SIZE];
  unsigned lens[CONTEXTS], want_len = 0;
  for (int i = 0; i < CONTEXTS; i++) {
    SECItem none = {siBuffer, NULL, 0};
    contexts[i] = PK11_CreateContextBySymKey(CKM_SHA384_HMAC, CKA_SIGN, key, &none);
    must("PK11_CreateContextBySymKey", contexts[i] != NULL);
    must("PK11_DigestBegin", PK11_DigestBegin(contexts[i]) == SECSuccess);
  }
  digest_all("HMAC", contexts, out, lens);
  for (int i = 0; i < CONTEXTS; i++) {
    size_t len = 0;
    const unsigned char *data = part(i, &len);
    HMAC(EVP_sha384(), key_bytes, 32, data, len, want, &want_len);
    compare("HMAC", out[i], lens[i], want, want_len);
  }
  PK11_FreeSymKey(key);
}

/* Enciphers by turns in pieces of whole blocks, as NSS does, or of any length. */
static void ciphers(PK11SlotInfo *slot, const char *what, CK_MECHANISM_TYPE mechanism, SECItem *parameter,
                    const EVP_CIPHER *cipher, int piece)
{
  PK11SymKey *key = import(slot, mechanism, CKA_ENCRYPT, 32);
  PK11Context *contexts[CONTEXTS];
  static unsigned char out[CONTEXTS][LENGTH + 32], want[LENGTH + 32];
  int lens[CONTEXTS] = {0};
  for (int i = 0; i < CONTEXTS; i++) {
    contexts[i] = PK11_CreateContextBySymKey(mechanism, CKA_ENCRYPT, key, parameter);
    must(what, contexts[i] != NULL);
  }
  for (int at = 0; at < 640; at += piece) {
    for (int i = 0; i < CONTEXTS; i++) {
      int written = 0, now = 640 - at < piece ? 640 - at : piece;
      must(what, PK11_CipherOp(contexts[i], out[i] + lens[i], &written, LENGTH - lens[i], text + 10 * i + at, now) ==
                     SECSuccess);
      lens[i] += written;
    }
  }
  for (int i = 0; i < CONTEXTS; i++) {
    unsigned last = 0;
    must(what, PK11_DigestFinal(contexts[i], out[i] + lens[i], &last, 32) == SECSuccess);
    PK11_DestroyContext(contexts[i], PR_TRUE);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int a = 0, b = 0;
    EVP_EncryptInit_ex(c, cipher, NULL, key_bytes, iv);
    EVP_CIPHER_CTX_set_padding(c, mechanism == CKM_AES_CBC_PAD);
    EVP_EncryptUpdate(c, want, &a, text + 10 * i, 640);
    EVP_EncryptFinal_ex(c, want + a, &b);
    EVP_CIPHER_CTX_free(c);
    compare(what, out[i], (size_t)lens[i] + last, want, (size_t)(a + b));
  }
  PK11_FreeSymKey(key);
}

int main(int argc, char **argv)
{
  if (argc != 4 && argc != 5) {
    fprintf(stderr, "usage: %s DATABASE TOKEN PIN [ROUNDS]\n", argv[0]);
    return 3;
  }
  for (int i = 0; i < LENGTH; i++) text[i] = (unsigned char)(i * 7 % 251);
  for (int i = 0; i < 32; i++) key_bytes[i] = (unsigned char)(100 + i);
  for (int i = 0; i < 16; i++) iv[i] = (unsigned char)(200 + i);
  must("NSS_Init", NSS_Init(argv[1]) == SECSuccess);
  PK11_SetPasswordFunc(pin_of);
  PK11SlotInfo *slot = PK11_FindSlotByName(argv[2]);
  must("PK11_FindSlotByName", slot != NULL);
  must("PK11_Authenticate", PK11_Authenticate(slot, PR_TRUE, argv[3]) == SECSuccess);
  SECItem parameter = {siBuffer, iv, sizeof iv}, none = {siBuffer, NULL, 0};
  for (int i = argc == 5 ? atoi(argv[4]) : 1; i > 0; i--) {
    digests();
    macs(slot);
    ciphers(slot, "AES-CBC", CKM_AES_CBC, &parameter, EVP_aes_256_cbc(), 48);
    ciphers(slot, "AES-CBC with padding", CKM_AES_CBC_PAD, &parameter, EVP_aes_256_cbc(), 37);
    ciphers(slot, "AES-ECB", CKM_AES_ECB, &none, EVP_aes_256_ecb(), 32);
  }
  PK11_FreeSlot(slot);
  NSS_Shutdown();
  return wrong > 0;
}
