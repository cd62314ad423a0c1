/* token_threads MODULE PIN THREADS ROUNDS
 *
 * Threads on one real token, each in sessions of its own: digests, encryption there and back, signatures made and verified,
 * objects made, found and destroyed, all checked; one thread opens and closes sessions meanwhile. One user is logged in
 * throughout. Ends with "rounds N". */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR list;
static CK_SLOT_ID slot;
static atomic_ulong rounds;
static atomic_bool over;
static unsigned long wanted;

/* Made by main, used by all threads at once. */
static CK_OBJECT_HANDLE aes, public_key, private_key;

#define CALL(what) MUST(list->what)

static CK_SESSION_HANDLE open_session(void)
{
  CK_SESSION_HANDLE session;
  CALL(C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
  return session;
}

static void encrypt_there_and_back(CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len)
{
  CK_BYTE iv[16] = {(CK_BYTE)session}, secret[512], back[512];
  CK_MECHANISM cbc = {CKM_AES_CBC_PAD, iv, sizeof iv};
  CK_ULONG secret_len = sizeof secret, back_len = sizeof back;
  CALL(C_EncryptInit(session, &cbc, aes));
  CALL(C_Encrypt(session, (CK_BYTE_PTR)data, len, secret, &secret_len));
  CALL(C_DecryptInit(session, &cbc, aes));
  CALL(C_Decrypt(session, secret, secret_len, back, &back_len));
  if (back_len != len || memcmp(back, data, len) != 0) DIE("decrypted to something else");
}

static void sign_and_verify(CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len)
{
  CK_MECHANISM ecdsa = {CKM_ECDSA_SHA256, NULL, 0};
  CK_BYTE signature[64];
  CK_ULONG signature_len = sizeof signature;
  CALL(C_SignInit(session, &ecdsa, private_key));
  CALL(C_Sign(session, (CK_BYTE_PTR)data, len, signature, &signature_len));
  CALL(C_VerifyInit(session, &ecdsa, public_key));
  CALL(C_Verify(session, (CK_BYTE_PTR)data, len, signature, signature_len));
  signature[0] ^= 1;
  CALL(C_VerifyInit(session, &ecdsa, public_key));
  if (list->C_Verify(session, (CK_BYTE_PTR)data, len, signature, signature_len) != CKR_SIGNATURE_INVALID)
    DIE("a changed signature is not refused");
}

/* An object of this thread's own is there exactly as long as it should. */
static void make_and_destroy(CK_SESSION_HANDLE session, unsigned long round)
{
  CK_OBJECT_CLASS class = CKO_DATA;
  CK_BBOOL token = round % 16 == 0, no = CK_FALSE;
  unsigned long id[2] = {session, round};
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS,   &class, sizeof class},
      {CKA_TOKEN,   &token, sizeof token},
      {CKA_PRIVATE, &no,    sizeof no   },
      {CKA_VALUE,   id,     sizeof id   },
  };
  CK_OBJECT_HANDLE object, found[2];
  CK_ULONG count;
  CALL(C_CreateObject(session, templ, 4, &object));
  for (int gone = 0; gone < 2; gone++) {
    CALL(C_FindObjectsInit(session, templ, 4));
    CALL(C_FindObjects(session, found, 2, &count));
    CALL(C_FindObjectsFinal(session));
    if (count != (gone ? 0u : 1u)) DIE("%lu objects found, gone is %d", count, gone);
    if (!gone) CALL(C_DestroyObject(session, object));
  }
}

static void *work(void *argument)
{
  (void)argument;
  CK_SESSION_HANDLE session = open_session();
  CK_BYTE data[200], digest[32];
  for (unsigned long round = 0; round < wanted; round++) {
    CK_MECHANISM sha = {CKM_SHA256, NULL, 0};
    CK_ULONG digest_len = sizeof digest;
    CALL(C_GenerateRandom(session, data, sizeof data));
    CALL(C_DigestInit(session, &sha));
    CALL(C_Digest(session, data, sizeof data, digest, &digest_len));
    encrypt_there_and_back(session, data, sizeof data);
    sign_and_verify(session, digest, digest_len);
    make_and_destroy(session, round);
    rounds++;
  }
  CALL(C_CloseSession(session));
  return NULL;
}

/* Sessions come and go, and know that the user is logged in. */
static void *come_and_go(void *argument)
{
  (void)argument;
  while (!over) {
    CK_SESSION_HANDLE session = open_session();
    CK_SESSION_INFO info;
    CALL(C_GetSessionInfo(session, &info));
    if (info.state != CKS_RW_USER_FUNCTIONS) DIE("state %lu", info.state);
    CALL(C_CloseSession(session));
  }
  return NULL;
}

static void make_keys(CK_SESSION_HANDLE session)
{
  CK_BBOOL yes = CK_TRUE;
  CK_ULONG len = 32;
  CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_MECHANISM aes_gen = {CKM_AES_KEY_GEN, NULL, 0}, ec_gen = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
  CK_ATTRIBUTE secret[] = {
      {CKA_VALUE_LEN, &len, sizeof len},
      {CKA_ENCRYPT,   &yes, 1         },
      {CKA_DECRYPT,   &yes, 1         }
  };
  CK_ATTRIBUTE public[] = {
      {CKA_EC_PARAMS, p256, sizeof p256},
      {CKA_VERIFY,    &yes, 1          }
  };
  CK_ATTRIBUTE private[] = {
      {CKA_SIGN,  &yes, 1},
      {CKA_TOKEN, &yes, 1}
  };
  CALL(C_GenerateKey(session, &aes_gen, secret, 3, &aes));
  CALL(C_GenerateKeyPair(session, &ec_gen, public, 2, private, 2, &public_key, &private_key));
}

int main(int argc, char **argv)
{
  if (argc != 5) DIE("usage: token_threads MODULE PIN THREADS ROUNDS");
  unsigned threads = (unsigned)strtoul(argv[3], NULL, 10);
  wanted = strtoul(argv[4], NULL, 10);
  CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
  CK_ULONG count = 1;
  list = module_list(argv[1]);
  CALL(C_Initialize(&args));
  CALL(C_GetSlotList(CK_TRUE, &slot, &count));
  CK_SESSION_HANDLE session = open_session();
  CALL(C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)argv[2], strlen(argv[2])));
  make_keys(session);

  pthread_t worker[64], passer_by;
  if (threads == 0 || threads > 64) DIE("1 to 64 threads");
  for (unsigned i = 0; i < threads; i++)
    if (pthread_create(&worker[i], NULL, work, NULL) != 0) DIE("pthread_create");
  if (pthread_create(&passer_by, NULL, come_and_go, NULL) != 0) DIE("pthread_create");
  for (unsigned i = 0; i < threads; i++) pthread_join(worker[i], NULL);
  over = true;
  pthread_join(passer_by, NULL);

  CALL(C_DestroyObject(session, private_key));
  CALL(C_Finalize(NULL));
  printf("rounds %lu\n", rounds);
  return 0;
}
