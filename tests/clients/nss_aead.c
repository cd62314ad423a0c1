/* Messages as NSS encrypts them: PK11_AEADOp with a key on a token.
 *
 *   nss_aead DATABASE TOKEN PIN [spoilt]
 *
 * For each mechanism, and each way to make a nonce, one key and one context; several messages. Prints what came out, for others
 * to check:
 *
 *   MECHANISM GENERATOR FIXED-BITS  NONCE AAD PLAINTEXT CIPHERTEXT TAG     in hexadecimal, "-" for none
 *
 * and has NSS decrypt it again; with "spoilt", after it was refused with another tag. Ends with 1 if NSS refuses what it should
 * do, or does what it should refuse. */
#include <nss.h>
#include <pk11pub.h>
#include <stdio.h>
#include <string.h>

enum { IV = 12, TAG = 16, MESSAGES = 5 };

static int spoilt;

static char *pin_of(PK11SlotInfo *slot, PRBool retry, void *pin)
{
  (void)slot;
  return retry ? NULL : PORT_Strdup(pin);
}

static void print(const unsigned char *bytes, int len)
{
  printf(len == 0 ? " -" : " ");
  for (int i = 0; i < len; i++) printf("%02x", bytes[i]);
}

static int fail(const char *what)
{
  fprintf(stderr, "%s: error %d\n", what, PORT_GetError());
  return 1;
}

struct way {
  CK_MECHANISM_TYPE mechanism, key;
  CK_GENERATOR_FUNCTION generator;
  int fixed; /* bits */
};

/* A message out and in again; `number` makes it another one each time. */
static int one(PK11Context *seal, PK11Context *open, const struct way *w, int number)
{
  unsigned char iv[IV], aad[20], text[64], sealed[64], tag[TAG], back[64];
  int text_len = number * 13, aad_len = number * 5, len = 0;
  memset(iv, 0xa0, sizeof iv);
  if (w->generator == CKG_NO_GENERATE) iv[IV - 1] = (unsigned char)number;
  memset(aad, number, sizeof aad);
  for (int i = 0; i < text_len; i++) text[i] = (unsigned char)(number + i);
  if (PK11_AEADOp(seal, w->generator, w->fixed, iv, IV, aad, aad_len, sealed, &len, sizeof sealed, tag, TAG, text,
                  text_len) != SECSuccess ||
      len != text_len)
    return fail("PK11_AEADOp encrypts");
  printf("%lx %lu %d", w->mechanism, w->generator, w->fixed);
  print(iv, IV);
  print(aad, aad_len);
  print(text, text_len);
  print(sealed, len);
  print(tag, TAG);
  puts("");
  tag[0] ^= 1;
  if (spoilt && PK11_AEADOp(open, CKG_NO_GENERATE, 0, iv, IV, aad, aad_len, back, &len, sizeof back, tag, TAG, sealed,
                            text_len) == SECSuccess)
    return fail("PK11_AEADOp takes a wrong tag");
  tag[0] ^= 1;
  if (PK11_AEADOp(open, CKG_NO_GENERATE, 0, iv, IV, aad, aad_len, back, &len, sizeof back, tag, TAG, sealed,
                  text_len) != SECSuccess ||
      len != text_len || memcmp(back, text, (size_t)len) != 0)
    return fail("PK11_AEADOp decrypts");
  return 0;
}

static int all(PK11SlotInfo *slot, const struct way *w)
{
  unsigned char bytes[32];
  SECItem value = {siBuffer, bytes, sizeof bytes}, none = {siBuffer, NULL, 0};
  for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)i;
  PK11SymKey *key = PK11_ImportSymKeyWithFlags(slot, w->key, PK11_OriginUnwrap, CKA_ENCRYPT, &value,
                                               CKF_ENCRYPT | CKF_DECRYPT, PR_TRUE, NULL);
  if (key == NULL) return fail("PK11_ImportSymKeyWithFlags");
  PK11Context *seal = PK11_CreateContextBySymKey(w->mechanism, CKA_NSS_MESSAGE | CKA_ENCRYPT, key, &none);
  PK11Context *open = PK11_CreateContextBySymKey(w->mechanism, CKA_NSS_MESSAGE | CKA_DECRYPT, key, &none);
  int wrong = seal == NULL || open == NULL ? fail("PK11_CreateContextBySymKey") : 0;
  for (int i = 0; i < MESSAGES && wrong == 0; i++) wrong = one(seal, open, w, i);
  if (seal != NULL) PK11_DestroyContext(seal, PR_TRUE);
  if (open != NULL) PK11_DestroyContext(open, PR_TRUE);
  PK11_DeleteTokenSymKey(key);
  PK11_FreeSymKey(key);
  return wrong;
}

int main(int argc, char **argv)
{
  static const struct way ways[] = {
      {CKM_AES_GCM,           CKM_AES_KEY_GEN,      CKG_NO_GENERATE,          0 },
      {CKM_AES_GCM,           CKM_AES_KEY_GEN,      CKG_GENERATE,             32},
      {CKM_AES_GCM,           CKM_AES_KEY_GEN,      CKG_GENERATE_COUNTER,     32},
      {CKM_AES_GCM,           CKM_AES_KEY_GEN,      CKG_GENERATE_COUNTER,     93},
      {CKM_AES_GCM,           CKM_AES_KEY_GEN,      CKG_GENERATE_RANDOM,      0 },
      {CKM_AES_GCM,           CKM_AES_KEY_GEN,      CKG_GENERATE_COUNTER_XOR, 32},
      {CKM_CHACHA20_POLY1305, CKM_CHACHA20_KEY_GEN, CKG_NO_GENERATE,          0 },
      {CKM_CHACHA20_POLY1305, CKM_CHACHA20_KEY_GEN, CKG_GENERATE_COUNTER_XOR, 32},
      {CKM_CHACHA20_POLY1305, CKM_CHACHA20_KEY_GEN, CKG_GENERATE_RANDOM,      0 },
  };
  if (argc != 4 && argc != 5) {
    fprintf(stderr, "usage: %s DATABASE TOKEN PIN [spoilt]\n", argv[0]);
    return 3;
  }
  spoilt = argc == 5;
  if (NSS_Init(argv[1]) != SECSuccess) return fail("NSS_Init");
  PK11SlotInfo *slot = PK11_FindSlotByName(argv[2]);
  if (slot == NULL) return fail("PK11_FindSlotByName");
  PK11_SetPasswordFunc(pin_of);
  int wrong = PK11_Authenticate(slot, PR_TRUE, argv[3]) != SECSuccess ? fail("PK11_Authenticate") : 0;
  for (size_t i = 0; i < sizeof ways / sizeof ways[0] && wrong == 0; i++) wrong = all(slot, &ways[i]);
  PK11_FreeSlot(slot);
  NSS_Shutdown();
  return wrong;
}
