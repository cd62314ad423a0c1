/* probes scene MODULE LABEL PIN    two sessions, logins, objects, keys, searches: where the recorder's probes belong
 * probes quiet MODULE              everything that a probe follows, in the middle of a signature (the mock: MOCK_FRAGILE)
 * probes asked MODULE              the same card, asked by the application itself: it forgets its key
 * probes race MODULE THREADS N     threads that open, log in, sign, make objects, search and close, N times each
 * probes removed MODULE            a card that comes and goes (MOCK_REMOVE)
 * probes called MODULE             a callback that makes a call (MOCK_NOTIFY=C_GetSessionInfo: while the recorder asks)
 *
 * LABEL names the token, "-" is slot 1. Prints what the application sees. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR list;
static CK_SLOT_ID slot = 1;

/* Return code and errno, which a module may set and nobody else. */
#define SAY(function, ...)                                                 \
  do {                                                                     \
    errno = 77;                                                            \
    CK_RV said = list->function(__VA_ARGS__);                              \
    int number = errno;                                                    \
    printf("%d %s = 0x%lx errno %d\n", __LINE__, #function, said, number); \
  } while (0)

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS data_class = CKO_DATA;

static void find_slot(const char *label)
{
  CK_SLOT_ID id[64];
  CK_ULONG count = 64;
  CK_TOKEN_INFO info;
  if (strcmp(label, "-") == 0) return;
  MUST(list->C_GetSlotList(CK_TRUE, id, &count));
  for (CK_ULONG i = 0; i < count; i++) {
    if (list->C_GetTokenInfo(id[i], &info) != CKR_OK || strncmp((char *)info.label, label, strlen(label)) != 0)
      continue;
    slot = id[i];
    return;
  }
  DIE("no token is called %s", label);
}

static CK_SESSION_HANDLE open_session(CK_FLAGS flags)
{
  CK_SESSION_HANDLE session = 0;
  SAY(C_OpenSession, slot, CKF_SERIAL_SESSION | flags, NULL, NULL, &session);
  return session;
}

static CK_OBJECT_HANDLE make_data(CK_SESSION_HANDLE session, const char *label)
{
  CK_OBJECT_HANDLE object = 0;
  CK_ATTRIBUTE a[] = {
      {CKA_CLASS,   &data_class,              sizeof data_class},
      {CKA_TOKEN,   &no,                      1                },
      {CKA_PRIVATE, &no,                      1                },
      {CKA_LABEL,   (void *)(uintptr_t)label, strlen(label)    }
  };
  SAY(C_CreateObject, session, a, 4, &object);
  return object;
}

/* `room` objects at once, until there are none. */
static void search(CK_SESSION_HANDLE session, CK_ULONG room)
{
  CK_OBJECT_HANDLE object[16];
  CK_ULONG count = 0;
  CK_ATTRIBUTE a = {CKA_CLASS, &data_class, sizeof data_class};
  SAY(C_FindObjectsInit, session, &a, 1);
  do {
    SAY(C_FindObjects, session, object, room, &count);
    printf("found %lu of %lu\n", count, room);
  } while (count == room);
  SAY(C_FindObjectsFinal, session);
}

static void login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
  SAY(C_Login, session, user, (CK_UTF8CHAR_PTR)(uintptr_t)pin, strlen(pin));
}

static void make_keys(CK_SESSION_HANDLE session)
{
  static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_ULONG size = 16;
  CK_MECHANISM pair = {CKM_EC_KEY_PAIR_GEN, NULL, 0}, aes = {CKM_AES_KEY_GEN, NULL, 0};
  CK_ATTRIBUTE public_key[] = {
      {CKA_EC_PARAMS, p256, sizeof p256},
      {CKA_VERIFY,    &yes, 1          },
      {CKA_TOKEN,     &no,  1          }
  };
  CK_ATTRIBUTE private_key[] = {
      {CKA_SIGN,  &yes, 1},
      {CKA_TOKEN, &no,  1}
  };
  CK_ATTRIBUTE secret_key[] = {
      {CKA_VALUE_LEN, &size, sizeof size},
      {CKA_TOKEN,     &no,   1          },
      {CKA_ENCRYPT,   &yes,  1          }
  };
  CK_OBJECT_HANDLE a = 0, b = 0;
  SAY(C_GenerateKeyPair, session, &pair, public_key, 3, private_key, 2, &a, &b);
  SAY(C_GenerateKey, session, &aes, secret_key, 3, &a);
}

static void scene(const char *label, const char *pin)
{
  CK_SLOT_INFO info;
  MUST(list->C_Initialize(NULL));
  find_slot(label);
  CK_SESSION_HANDLE a = open_session(0), b = open_session(CKF_RW_SESSION);
  SAY(C_GetSlotInfo, slot, &info);
  login(a, CKU_USER, "wrong pin");
  login(a, CKU_USER, pin);
  make_data(b, "one");
  CK_OBJECT_HANDLE two = make_data(b, "two");
  make_keys(b);
  search(a, 16);
  search(a, 1);
  SAY(C_DestroyObject, b, two);
  SAY(C_Logout, b);
  SAY(C_CloseSession, b);
  SAY(C_Logout, a); /* alone: there is nobody to ask */
  SAY(C_CloseAllSessions, slot);
  SAY(C_Finalize, NULL);
}

/* All that a probe follows or comes before, on other sessions and on the one that signs. */
static void everything(CK_SESSION_HANDLE signs, CK_SESSION_HANDLE other)
{
  CK_SLOT_INFO info;
  CK_SESSION_HANDLE third = open_session(CKF_RW_SESSION);
  login(other, CKU_USER, "1234");
  login(signs, CKU_CONTEXT_SPECIFIC, "1234");
  make_data(other, "in between");
  search(other, 16);
  SAY(C_GetSlotInfo, slot, &info);
  SAY(C_Logout, other);
  SAY(C_CloseSession, third);
}

static void quiet(void)
{
  CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
  CK_BYTE hash[32] = {1}, out[256];
  CK_ULONG size = 0;
  MUST(list->C_Initialize(NULL));
  CK_SESSION_HANDLE a = open_session(0), b = open_session(CKF_RW_SESSION);
  SAY(C_SignInit, a, &m, 0x70);
  everything(a, b);
  SAY(C_Sign, a, hash, sizeof hash, NULL, &size); /* for the length: it goes on */
  everything(a, b);
  size = 1;
  SAY(C_Sign, a, hash, sizeof hash, out, &size); /* no room: the mock ends it */
  SAY(C_SignInit, a, &m, 0x70);
  everything(a, b);
  size = sizeof out;
  SAY(C_Sign, a, hash, sizeof hash, out, &size);
  SAY(C_DecryptInit, b, &m, 0x70);
  everything(b, a);
  SAY(C_DecryptUpdate, b, hash, sizeof hash, out, &size);
  everything(b, a);
  size = sizeof out;
  SAY(C_DecryptFinal, b, out, &size);
  puts("--- and now it may be asked");
  fflush(stdout);
  open_session(0);
  SAY(C_Finalize, NULL);
}

static void asked(void)
{
  CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
  CK_BYTE hash[32] = {1}, out[256];
  CK_ULONG size = sizeof out;
  CK_SESSION_INFO info;
  MUST(list->C_Initialize(NULL));
  CK_SESSION_HANDLE a = open_session(0), b = open_session(CKF_RW_SESSION);
  SAY(C_SignInit, a, &m, 0x70);
  SAY(C_GetSessionInfo, b, &info);
  SAY(C_Sign, a, hash, sizeof hash, out, &size);
}

static void removed(void)
{
  CK_SLOT_INFO info;
  MUST(list->C_Initialize(NULL));
  CK_SESSION_HANDLE a = open_session(0), b = open_session(CKF_RW_SESSION);
  for (int i = 0; i < 3; i++) {
    SAY(C_GetSlotInfo, slot, &info);
    printf("present %lu\n", info.flags & CKF_TOKEN_PRESENT);
  }
  SAY(C_CloseSession, a);
  SAY(C_CloseSession, b);
  SAY(C_GetSlotInfo, slot, &info);
  SAY(C_Finalize, NULL);
}

static CK_RV notify(CK_SESSION_HANDLE session, CK_NOTIFICATION event, CK_VOID_PTR application)
{
  CK_INFO info;
  printf("notified of session 0x%lx, event %lu, by %s\n", session, event, (char *)application);
  return list->C_GetInfo(&info);
}

static void called(void)
{
  CK_SESSION_HANDLE session;
  CK_INFO info;
  char name[] = "its own pointer";
  MUST(list->C_Initialize(NULL));
  SAY(C_OpenSession, slot, CKF_SERIAL_SESSION, name, notify, &session);
  SAY(C_GetInfo, &info);
  SAY(C_Finalize, NULL);
}

static unsigned long rounds;

static void *race(void *unused)
{
  CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
  CK_BYTE hash[32] = {1}, out[256];
  CK_ATTRIBUTE a = {CKA_CLASS, &data_class, sizeof data_class};
  CK_OBJECT_HANDLE object[16];
  (void)unused;
  for (unsigned long i = 0; i < rounds; i++) {
    CK_SESSION_HANDLE session;
    CK_ULONG size = sizeof out, count;
    MUST(list->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    MUST(list->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR) "1234", 4));
    MUST(list->C_SignInit(session, &m, 0x70));
    MUST(list->C_Sign(session, hash, sizeof hash, out, &size));
    MUST(list->C_CreateObject(session, &a, 1, object));
    MUST(list->C_FindObjectsInit(session, &a, 1));
    MUST(list->C_FindObjects(session, object, 16, &count));
    MUST(list->C_FindObjectsFinal(session));
    MUST(list->C_CloseSession(session));
  }
  return NULL;
}

static void races(int threads, unsigned long n)
{
  pthread_t thread[64];
  rounds = n;
  if (threads > 64) DIE("at most 64 threads");
  MUST(list->C_Initialize(NULL));
  for (int i = 0; i < threads; i++) {
    if (pthread_create(&thread[i], NULL, race, NULL) != 0) DIE("pthread_create");
  }
  for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
  MUST(list->C_Finalize(NULL));
  printf("calls %lu\n", 2 + 9 * n * (unsigned long)threads);
}

int main(int argc, char **argv)
{
  if (argc < 3) DIE("usage: probes scene MODULE LABEL PIN | quiet|asked|removed|called MODULE | race MODULE THREADS N");
  list = module_list(argv[2]);
  if (strcmp(argv[1], "scene") == 0 && argc == 5)
    scene(argv[3], argv[4]);
  else if (strcmp(argv[1], "quiet") == 0)
    quiet();
  else if (strcmp(argv[1], "asked") == 0)
    asked();
  else if (strcmp(argv[1], "removed") == 0)
    removed();
  else if (strcmp(argv[1], "called") == 0)
    called();
  else if (strcmp(argv[1], "race") == 0 && argc == 5)
    races(atoi(argv[3]), strtoul(argv[4], NULL, 10));
  else
    DIE("what is %s?", argv[1]);
  return 0;
}
