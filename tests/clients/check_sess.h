/* Actions for the rules of sessions. */
#include "check_client.h"

static void closed_session(void)
{
  CK_SESSION_INFO info;
  const CK_SESSION_HANDLE first = open_session(0), second = open_session(0);
  MUST(p11->C_CloseSession(second));
  p11->C_GetSessionInfo(second, &info);
  p11->C_CloseSession(second);
  const CK_SESSION_HANDLE third = open_session(0);
  MUST(p11->C_CloseSession(third));
  MUST(p11->C_CloseSession(first));
}

static CK_SESSION_HANDLE one_for_all;
static pthread_barrier_t together;

/* Whole blocks: more harm comes of two Inits, which crash SoftHSM. */
static void *digest_much(void *unused)
{
  static CK_BYTE much[32 << 20];
  pthread_barrier_wait(&together);
  p11->C_DigestUpdate(one_for_all, much, sizeof much);
  return unused;
}

static void shared(void)
{
  CK_MECHANISM mechanism = {CKM_SHA256, NULL, 0};
  CK_BYTE out[32];
  CK_ULONG length = sizeof out;
  pthread_t thread[2];
  one_for_all = open_session(0);
  p11->C_DigestInit(one_for_all, &mechanism);
  pthread_barrier_init(&together, NULL, 2);
  for (int i = 0; i < 2; i++) pthread_create(&thread[i], NULL, digest_much, NULL);
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  p11->C_DigestFinal(one_for_all, out, &length);
  MUST(p11->C_CloseSession(one_for_all));
}

static CK_OBJECT_HANDLE session_object(CK_SESSION_HANDLE session)
{
  CK_OBJECT_CLASS class = CKO_DATA;
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,   &class,            sizeof class},
      {CKA_TOKEN,   &no,               sizeof no   },
      {CKA_PRIVATE, &no,               sizeof no   },
      {CKA_VALUE,   (void *)"a value", 7           }
  };
  CK_OBJECT_HANDLE object = 0;
  p11->C_CreateObject(session, what, 4, &object);
  return object;
}

static void kept(void)
{
  const CK_SESSION_HANDLE first = open_session(0), second = open_session(0);
  const CK_OBJECT_HANDLE object = session_object(first);
  session_object(second);
  if (object) read_object(second, object);
  MUST(p11->C_CloseSession(second));
  if (object) read_object(first, object);
  MUST(p11->C_CloseSession(first));
}

static void leaves(void)
{
  CK_MECHANISM mechanism = {CKM_SHA256, NULL, 0};
  for (int i = 0; i < 11; i++) open_session(0);
  p11->C_DigestInit(open_session(0), &mechanism);
}

static void read_only_writes(void)
{
  CK_OBJECT_CLASS class = CKO_DATA;
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,   &class,            sizeof class},
      {CKA_TOKEN,   &yes,              sizeof yes  },
      {CKA_PRIVATE, &no,               sizeof no   },
      {CKA_VALUE,   (void *)"a value", 7           }
  };
  CK_OBJECT_HANDLE object;
  const CK_SESSION_HANDLE session = open_session(0);
  p11->C_CreateObject(session, what, 4, &object);
  MUST(p11->C_CloseSession(session));
}
