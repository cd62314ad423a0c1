/* token_load MODULE TOKEN PIN PARAMETERS ops ROUNDS       what one operation costs, beside OpenSSL itself
 * token_load MODULE TOKEN PIN PARAMETERS fill N           makes N certificates on the token
 * token_load MODULE TOKEN PIN PARAMETERS find N ROUNDS    finds among N that are there
 *
 * PARAMETERS is the parameter string for C_Initialize, "" for none. Prints "name nanoseconds" lines: medians of batches. An
 * operation that the module does not have is left out. Names that begin with evp_ are OpenSSL's own work in the same
 * process: what a module costs above that is its own. */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "tests/clients/p11client.h"

static CK_FUNCTION_LIST_PTR list;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static const char *label, *pin;
static unsigned rounds;

static uint64_t now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* One operation; false: the module cannot do it. */
typedef bool (*operation)(void);

/* Batches of about half a millisecond, `rounds` of them; the median of what one operation took in each. */
static void measure(const char *name, operation run)
{
  static double cost[10000];
  uint64_t began = now();
  if (!run()) return;
  for (int i = 0; i < 3; i++) run();
  double once = (double)(now() - began) / 4;
  unsigned batch = once < 500000 ? (unsigned)(500000 / (once + 1)) + 1 : 1;
  unsigned count = rounds > 10000 ? 10000 : rounds;
  if (once > 20e6 && count > 5) count = 5;
  for (unsigned r = 0; r < count; r++) {
    began = now();
    for (unsigned i = 0; i < batch; i++) run();
    cost[r] = (double)(now() - began) / batch;
  }
  qsort(cost, count, sizeof *cost, by_value);
  printf("%s %.0f\n", name, cost[count / 2]);
  fflush(stdout);
}

#define MUST_EVP(call)                 \
  do {                                 \
    if ((call) <= 0) DIE("%s", #call); \
  } while (0)

/* --- beginning and end ------------------------------------------------------------------------------------------ */

static CK_NSS_C_INITIALIZE_ARGS args;

static void begin(void)
{
  CK_SLOT_ID slots[16];
  CK_ULONG count = 16;
  MUST(list->C_Initialize(&args));
  MUST(list->C_GetSlotList(CK_TRUE, NULL, &count));
  if (count > 16) DIE("%lu slots", count);
  MUST(list->C_GetSlotList(CK_TRUE, slots, &count));
  for (CK_ULONG i = 0; i < count; i++) {
    CK_TOKEN_INFO token;
    MUST(list->C_GetTokenInfo(slots[i], &token));
    if (strncmp((const char *)token.label, label, strlen(label)) == 0) slot = slots[i];
  }
  MUST(list->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
}

static void login(void)
{
  MUST(list->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
}

/* --- keys and data ---------------------------------------------------------------------------------------------- */

static CK_OBJECT_HANDLE rsa_public, rsa_private, ec_public, ec_private, aes, hmac;
static CK_BYTE data[1024], output[2048], digest[32], rsa_signature[256], ec_signature[64];
static CK_BYTE iv[16];
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static void make_keys(void)
{
  static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, id[] = {1, 2, 3, 4};
  CK_ULONG bits = 2048, len = 16, mac_len = 32;
  CK_BYTE exponent[] = {1, 0, 1};
  CK_MECHANISM rsa_gen = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, ec_gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
  CK_MECHANISM aes_gen = {CKM_AES_KEY_GEN, NULL, 0}, secret_gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
  CK_ATTRIBUTE rsa_pub[] = {
      {CKA_MODULUS_BITS,    &bits,    sizeof bits},
      {CKA_PUBLIC_EXPONENT, exponent, 3          },
      {CKA_VERIFY,          &yes,     1          },
      {CKA_ID,              id,       4          }
  };
  CK_ATTRIBUTE ec_pub[] = {
      {CKA_EC_PARAMS, p256, sizeof p256},
      {CKA_VERIFY,    &yes, 1          },
      {CKA_ID,        id,   4          }
  };
  CK_ATTRIBUTE private[] = {
      {CKA_TOKEN,   &yes, 1},
      {CKA_PRIVATE, &yes, 1},
      {CKA_SIGN,    &yes, 1},
      {CKA_ID,      id,   4}
  };
  CK_ATTRIBUTE secret[] = {
      {CKA_VALUE_LEN, &len, sizeof len},
      {CKA_ENCRYPT,   &yes, 1         },
      {CKA_DECRYPT,   &yes, 1         }
  };
  CK_ATTRIBUTE mac[] = {
      {CKA_VALUE_LEN, &mac_len, sizeof mac_len},
      {CKA_SIGN,      &yes,     1             },
      {CKA_VERIFY,    &yes,     1             }
  };
  MUST(list->C_GenerateKeyPair(session, &rsa_gen, rsa_pub, 4, private, 4, &rsa_public, &rsa_private));
  id[0]++; /* softoken takes two private keys with one CKA_ID for the same */
  MUST(list->C_GenerateKeyPair(session, &ec_gen, ec_pub, 3, private, 4, &ec_public, &ec_private));
  MUST(list->C_GenerateKey(session, &aes_gen, secret, 3, &aes));
  MUST(list->C_GenerateKey(session, &secret_gen, mac, 3, &hmac));
  RAND_bytes(data, sizeof data);
  EVP_Digest(data, sizeof data, digest, NULL, EVP_sha256(), NULL);
}

/* --- operations of the module ----------------------------------------------------------------------------------- */

static bool good(CK_RV rv)
{
  return rv == CKR_OK;
}

static CK_BYTE info[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                           0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

static bool rsa_sign(void)
{
  CK_MECHANISM m = {CKM_RSA_PKCS, NULL, 0};
  CK_ULONG len = sizeof rsa_signature;
  memcpy(info + 19, digest, 32);
  return good(list->C_SignInit(session, &m, rsa_private)) &&
         good(list->C_Sign(session, info, sizeof info, rsa_signature, &len));
}

static bool rsa_verify(void)
{
  CK_MECHANISM m = {CKM_RSA_PKCS, NULL, 0};
  return good(list->C_VerifyInit(session, &m, rsa_public)) &&
         good(list->C_Verify(session, info, sizeof info, rsa_signature, sizeof rsa_signature));
}

static bool ec_sign(void)
{
  CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
  CK_ULONG len = sizeof ec_signature;
  return good(list->C_SignInit(session, &m, ec_private)) && good(list->C_Sign(session, digest, 32, ec_signature, &len));
}

static bool ec_verify(void)
{
  CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
  return good(list->C_VerifyInit(session, &m, ec_public)) &&
         good(list->C_Verify(session, digest, 32, ec_signature, sizeof ec_signature));
}

static bool encrypt_with(CK_MECHANISM *m)
{
  CK_ULONG len = sizeof output;
  return good(list->C_EncryptInit(session, m, aes)) && good(list->C_Encrypt(session, data, sizeof data, output, &len));
}

static bool aes_cbc(void)
{
  CK_MECHANISM m = {CKM_AES_CBC, iv, sizeof iv};
  return encrypt_with(&m);
}

static bool aes_gcm(void)
{
  CK_GCM_PARAMS parameters = {.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128};
  CK_MECHANISM m = {CKM_AES_GCM, &parameters, sizeof parameters};
  return encrypt_with(&m);
}

static bool sha256(void)
{
  CK_MECHANISM m = {CKM_SHA256, NULL, 0};
  CK_ULONG len = sizeof output;
  return good(list->C_DigestInit(session, &m)) && good(list->C_Digest(session, data, sizeof data, output, &len));
}

static bool hmac_sha256(void)
{
  CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
  CK_ULONG len = sizeof output;
  return good(list->C_SignInit(session, &m, hmac)) && good(list->C_Sign(session, data, sizeof data, output, &len));
}

static bool random_32(void)
{
  return good(list->C_GenerateRandom(session, output, 32));
}

static bool random_1024(void)
{
  return good(list->C_GenerateRandom(session, output, 1024));
}

static bool session_info(void)
{
  CK_SESSION_INFO i;
  return good(list->C_GetSessionInfo(session, &i));
}

static bool token_info(void)
{
  CK_TOKEN_INFO i;
  return good(list->C_GetTokenInfo(slot, &i));
}

static bool open_close(void)
{
  CK_SESSION_HANDLE other;
  return good(list->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &other)) && good(list->C_CloseSession(other));
}

static bool logout_login(void)
{
  return good(list->C_Logout(session)) && good(list->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
}

static bool session_key(void)
{
  static CK_BYTE value[16] = {1};
  CK_OBJECT_CLASS class = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  CK_OBJECT_HANDLE object;
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS,    &class, sizeof class},
      {CKA_KEY_TYPE, &type,  sizeof type },
      {CKA_TOKEN,    &no,    1           },
      {CKA_VALUE,    value,  sizeof value},
      {CKA_ENCRYPT,  &yes,   1           }
  };
  return good(list->C_CreateObject(session, templ, 5, &object)) && good(list->C_DestroyObject(session, object));
}

/* --- certificates ----------------------------------------------------------------------------------------------- */

struct certificate {
  unsigned char *der, *name, serial[8];
  int der_len, name_len;
  char label[40];
};

/* Number n, for searches by label and by issuer and serial number. Signed once is enough: nobody verifies it here. */
static void make_certificate(unsigned long n, struct certificate *c)
{
  static EVP_PKEY *key;
  static X509 *x;
  if (x == NULL) {
    key = EVP_EC_gen("P-256");
    x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"One issuer of many", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key);
  }
  *c = (struct certificate){0};
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), 0x10000000 + n);
  MUST_EVP(X509_sign(x, key, EVP_sha256()));
  c->der_len = i2d_X509(x, &c->der);
  c->name_len = i2d_X509_NAME(X509_get_issuer_name(x), &c->name);
  unsigned char *serial = c->serial;
  i2d_ASN1_INTEGER(X509_get_serialNumber(x), &serial);
  snprintf(c->label, sizeof c->label, "certificate %lu", n);
}

static void free_certificate(struct certificate *c)
{
  OPENSSL_free(c->der);
  OPENSSL_free(c->name);
}

static CK_RV create(struct certificate *c, unsigned long n, CK_OBJECT_HANDLE *object)
{
  CK_OBJECT_CLASS class = CKO_CERTIFICATE;
  CK_CERTIFICATE_TYPE type = CKC_X_509;
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS,            &class,    sizeof class         },
      {CKA_TOKEN,            &yes,      1                    },
      {CKA_CERTIFICATE_TYPE, &type,     sizeof type          },
      {CKA_ID,               &n,        sizeof n             },
      {CKA_LABEL,            c->label,  strlen(c->label)     },
      {CKA_VALUE,            c->der,    (CK_ULONG)c->der_len },
      {CKA_ISSUER,           c->name,   (CK_ULONG)c->name_len},
      {CKA_SUBJECT,          c->name,   (CK_ULONG)c->name_len},
      {CKA_SERIAL_NUMBER,    c->serial, 2u + c->serial[1]    },
  };
  return list->C_CreateObject(session, templ, 9, object);
}

static bool token_certificate(void)
{
  static unsigned long n = 1u << 24;
  struct certificate c;
  CK_OBJECT_HANDLE object;
  make_certificate(++n, &c);
  bool made = good(create(&c, n, &object)) && good(list->C_DestroyObject(session, object));
  free_certificate(&c);
  return made;
}

static void fill(unsigned long count)
{
  CK_OBJECT_HANDLE object;
  uint64_t spent = 0;
  for (unsigned long n = 0; n < count; n++) {
    struct certificate c;
    make_certificate(n, &c);
    uint64_t began = now();
    MUST(create(&c, n, &object));
    spent += now() - began;
    free_certificate(&c);
  }
  printf("create %.0f\n", (double)spent / (double)count);
}

static unsigned long present;

/* Searches with the template; true if `expected` objects are found. */
static bool find(CK_ATTRIBUTE *templ, CK_ULONG count, CK_ULONG expected)
{
  static CK_OBJECT_HANDLE found[1000];
  CK_ULONG n, all = 0;
  if (!good(list->C_FindObjectsInit(session, templ, count))) return false;
  do {
    if (!good(list->C_FindObjects(session, found, 1000, &n))) return false;
    all += n;
  } while (n > 0);
  if (!good(list->C_FindObjectsFinal(session))) return false;
  if (all != expected) DIE("%lu found, not %lu", all, expected);
  return true;
}

static CK_OBJECT_CLASS certificates = CKO_CERTIFICATE;

static bool find_label(void)
{
  static unsigned long n;
  char name[40];
  snprintf(name, sizeof name, "certificate %lu", n = (n + 7919) % present);
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS, &certificates, sizeof certificates},
      {CKA_TOKEN, &yes,          1                  },
      {CKA_LABEL, name,          strlen(name)       }
  };
  return find(templ, 3, 1);
}

static bool find_issuer_serial(void)
{
  static struct certificate c[64];
  static unsigned at;
  if (c[0].der == NULL)
    for (unsigned i = 0; i < 64; i++) make_certificate(i * 7919ul % present, &c[i]);
  struct certificate *one = &c[at++ % 64];
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS,         &certificates, sizeof certificates    },
      {CKA_TOKEN,         &yes,          1                      },
      {CKA_ISSUER,        one->name,     (CK_ULONG)one->name_len},
      {CKA_SERIAL_NUMBER, one->serial,   2u + one->serial[1]    }
  };
  return find(templ, 4, 1);
}

static bool find_nothing(void)
{
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS, &certificates, sizeof certificates},
      {CKA_LABEL, "nobody",      6                  }
  };
  return find(templ, 2, 0);
}

static bool find_all(void)
{
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS, &certificates, sizeof certificates},
      {CKA_TOKEN, &yes,          1                  }
  };
  return find(templ, 2, present);
}

static bool initialise(void)
{
  MUST(list->C_Finalize(NULL));
  begin();
  return true;
}

static bool initialise_and_find(void)
{
  return initialise() && find_label();
}

/* --- OpenSSL's own ---------------------------------------------------------------------------------------------- */

static EVP_PKEY *evp_rsa, *evp_ec;
static EVP_MD *evp_md;
static EVP_CIPHER *evp_cbc, *evp_gcm;
static EVP_MAC *evp_mac;

static void evp_begin(void)
{
  evp_rsa = EVP_RSA_gen(2048);
  evp_ec = EVP_EC_gen("P-256");
  evp_md = EVP_MD_fetch(NULL, "SHA256", NULL);
  evp_cbc = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
  evp_gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
  evp_mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
}

static bool evp_signs(EVP_PKEY *key, const EVP_MD *md)
{
  size_t len = sizeof output;
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
  MUST_EVP(EVP_PKEY_sign_init(ctx));
  if (md != NULL) MUST_EVP(EVP_PKEY_CTX_set_signature_md(ctx, md));
  MUST_EVP(EVP_PKEY_sign(ctx, output, &len, digest, 32));
  EVP_PKEY_CTX_free(ctx);
  return true;
}

static bool evp_rsa_sign(void)
{
  return evp_signs(evp_rsa, evp_md);
}

static bool evp_ec_sign(void)
{
  return evp_signs(evp_ec, NULL);
}

static bool evp_encrypts(const EVP_CIPHER *cipher)
{
  static unsigned char key[16];
  int len, last;
  EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
  MUST_EVP(EVP_EncryptInit_ex2(ctx, cipher, key, iv, NULL));
  MUST_EVP(EVP_CIPHER_CTX_set_padding(ctx, 0));
  MUST_EVP(EVP_EncryptUpdate(ctx, output, &len, data, sizeof data));
  MUST_EVP(EVP_EncryptFinal_ex(ctx, output + len, &last));
  if (EVP_CIPHER_get_mode(cipher) == EVP_CIPH_GCM_MODE)
    MUST_EVP(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, output + len));
  EVP_CIPHER_CTX_free(ctx);
  return true;
}

static bool evp_aes_cbc(void)
{
  return evp_encrypts(evp_cbc);
}

static bool evp_aes_gcm(void)
{
  return evp_encrypts(evp_gcm);
}

static bool evp_sha256(void)
{
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  unsigned len;
  MUST_EVP(EVP_DigestInit_ex2(ctx, evp_md, NULL));
  MUST_EVP(EVP_DigestUpdate(ctx, data, sizeof data));
  MUST_EVP(EVP_DigestFinal_ex(ctx, output, &len));
  EVP_MD_CTX_free(ctx);
  return true;
}

static bool evp_hmac_sha256(void)
{
  OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", (char *)"SHA256", 0),
                             OSSL_PARAM_construct_end()};
  size_t len;
  EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(evp_mac);
  MUST_EVP(EVP_MAC_init(ctx, (const unsigned char *)"0123456789abcdef0123456789abcdef", 32, parameters));
  MUST_EVP(EVP_MAC_update(ctx, data, sizeof data));
  MUST_EVP(EVP_MAC_final(ctx, output, &len, sizeof output));
  EVP_MAC_CTX_free(ctx);
  return true;
}

static bool evp_random_32(void)
{
  return RAND_bytes(output, 32) > 0;
}

static bool evp_random_1024(void)
{
  return RAND_bytes(output, 1024) > 0;
}

/* --- what to run ------------------------------------------------------------------------------------------------ */

#define OP(name) \
  {              \
#name, name  \
  }
static const struct {
  const char *name;
  operation run;
} operations[] =
    {
        OP(evp_rsa_sign), OP(rsa_sign),        OP(rsa_verify),        OP(evp_ec_sign),  OP(ec_sign),
        OP(ec_verify),    OP(evp_aes_gcm),     OP(aes_gcm),           OP(evp_aes_cbc),  OP(aes_cbc),
        OP(evp_sha256),   OP(sha256),          OP(evp_hmac_sha256),   OP(hmac_sha256),  OP(evp_random_32),
        OP(random_32),    OP(evp_random_1024), OP(random_1024),       OP(session_info), OP(token_info),
        OP(open_close),   OP(session_key),     OP(token_certificate), OP(logout_login),
},
  searches[] = {
      OP(find_label), OP(find_issuer_serial), OP(find_nothing), OP(find_all), OP(initialise), OP(initialise_and_find),
};

int main(int argc, char **argv)
{
  if (argc < 7) DIE("usage: token_load MODULE TOKEN PIN PARAMETERS ops|fill|find ...");
  label = argv[2];
  pin = argv[3];
  args.flags = CKF_OS_LOCKING_OK;
  if (argv[4][0] != '\0') args.LibraryParameters = (CK_CHAR_PTR *)(void *)argv[4];
  list = module_list(argv[1]);
  begin();
  login();
  if (strcmp(argv[5], "fill") == 0) {
    fill(strtoul(argv[6], NULL, 10));
  } else if (strcmp(argv[5], "find") == 0 && argc > 7) {
    present = strtoul(argv[6], NULL, 10);
    rounds = (unsigned)strtoul(argv[7], NULL, 10);
    for (size_t i = 0; i < sizeof searches / sizeof searches[0]; i++) measure(searches[i].name, searches[i].run);
  } else if (strcmp(argv[5], "ops") == 0) {
    rounds = (unsigned)strtoul(argv[6], NULL, 10);
    make_keys();
    evp_begin();
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
      measure(operations[i].name, operations[i].run);
  }
  MUST(list->C_Finalize(NULL));
  return 0;
}
