/* What the rules need to see and NSS's tools do not do.
 *
 *   check_client MODULE LABEL PIN ACTION
 *
 * ACTION: tour      everything once, as an exemplary client would: informations, login, search, attributes, logout
 *         badpin    a wrong PIN, then the right one
 *         samepin   the right PIN twice, with a logout between
 *         null      session functions with handle 0
 *         nullargs  the same, with a NULL buffer
 *         parallel  C_OpenSession without CKF_SERIAL_SESSION
 *         label     makes certificates whose CKA_LABEL ends in a blank, and one without CKA_LABEL, and reads them again
 *         remove    login, then the state of slot and session
 *         threads   two threads log in and out, two others ask for the state, a fifth opens and closes
 *         fork      a child uses what the parent has opened, and then does a tour of its own */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR p11;
static CK_SLOT_ID slot;
static const char *pin;

static void find_slot(const char *label)
{
  CK_SLOT_ID id[64];
  CK_ULONG count = 0;
  MUST(p11->C_GetSlotList(CK_FALSE, NULL, &count));
  if (count > 64) DIE("%lu slots", count);
  MUST(p11->C_GetSlotList(CK_FALSE, id, &count));
  for (CK_ULONG i = 0; i < count; i++) {
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token;
    MUST(p11->C_GetSlotInfo(id[i], &slot_info));
    if (p11->C_GetTokenInfo(id[i], &token) != CKR_OK) continue;
    if (slot == (CK_SLOT_ID)-1 && !strncmp((char *)token.label, label, strlen(label))) slot = id[i];
  }
  if (slot == (CK_SLOT_ID)-1) DIE("no token is called %s", label);
}

static CK_SESSION_HANDLE open_session(CK_FLAGS flags)
{
  CK_SESSION_HANDLE session;
  MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | flags, NULL, NULL, &session));
  return session;
}

static CK_STATE state(CK_SESSION_HANDLE session)
{
  CK_SESSION_INFO info;
  MUST(p11->C_GetSessionInfo(session, &info));
  return info.state;
}

static CK_RV login(CK_SESSION_HANDLE session, const char *with)
{
  return p11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)with, strlen(with));
}

/* One template for all, as NSS does it: the lengths, then the values; then each attribute alone. */
static void read_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  static const CK_ATTRIBUTE_TYPE type[] = {CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_ID};
  CK_BYTE value[5][512];
  CK_ATTRIBUTE a[5];
  for (int i = 0; i < 5; i++) a[i] = (CK_ATTRIBUTE){type[i], NULL, 0};
  p11->C_GetAttributeValue(session, object, a, 5);
  for (int i = 0; i < 5; i++) a[i] = (CK_ATTRIBUTE){type[i], value[i], sizeof value[i]};
  p11->C_GetAttributeValue(session, object, a, 5);
  for (int i = 0; i < 5; i++) {
    a[i].ulValueLen = sizeof value[i];
    p11->C_GetAttributeValue(session, object, &a[i], 1);
  }
}

static void read_all(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class)
{
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS, &class, sizeof class},
      {CKA_TOKEN, &yes,   sizeof yes  }
  };
  CK_OBJECT_HANDLE object[32];
  CK_ULONG count = 0;
  MUST(p11->C_FindObjectsInit(session, what, 2));
  MUST(p11->C_FindObjects(session, object, 32, &count));
  MUST(p11->C_FindObjectsFinal(session));
  for (CK_ULONG i = 0; i < count; i++) read_object(session, object[i]);
}

static void tour(void)
{
  const CK_SESSION_HANDLE ro = open_session(0), rw = open_session(CKF_RW_SESSION);
  state(ro);
  login(ro, pin);
  state(ro);
  state(rw);
  read_all(ro, CKO_CERTIFICATE);
  read_all(rw, CKO_PRIVATE_KEY);
  p11->C_Logout(rw);
  state(ro);
  MUST(p11->C_CloseSession(rw));
  MUST(p11->C_CloseSession(ro));
}

static void badpin(const char *first)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, first);
  state(session);
  login(session, pin);
  state(session);
  p11->C_Logout(session);
  MUST(p11->C_CloseSession(session));
}

static void null_session(CK_BBOOL null_arguments)
{
  CK_SESSION_INFO info;
  open_session(0);
  p11->C_GetSessionInfo(0, null_arguments ? NULL : &info);
  p11->C_FindObjectsInit(0, NULL, 0);
  p11->C_FindObjectsFinal(0);
  p11->C_GetFunctionStatus(0);
}

static void labels(void)
{
  static CK_BYTE id[] = "no such key", subject[] = {0x30, 0x00}, value[] = {0x30, 0x03, 0x02, 0x01, 0x01};
  CK_OBJECT_CLASS class = CKO_CERTIFICATE;
  CK_CERTIFICATE_TYPE type = CKC_X_509;
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,            &class,           sizeof class  },
      {CKA_CERTIFICATE_TYPE, &type,            sizeof type   },
      {CKA_TOKEN,            &no,              sizeof no     },
      {CKA_PRIVATE,          &no,              sizeof no     },
      {CKA_SUBJECT,          subject,          sizeof subject},
      {CKA_VALUE,            value,            sizeof value  },
      {CKA_ID,               id,               sizeof id     },
      {CKA_LABEL,            (void *)"blank ", 6             }
  };
  CK_OBJECT_HANDLE object;
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  MUST(p11->C_CreateObject(session, what, 8, &object));
  read_object(session, object);
  MUST(p11->C_CreateObject(session, what, 7, &object));
  read_object(session, object);
}

static void removed(void)
{
  CK_SLOT_INFO info;
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  MUST(p11->C_GetSlotInfo(slot, &info));
  state(session);
}

static atomic_int stop;

static void *log_in_and_out(void *session)
{
  for (int i = 0; i < 200; i++) {
    login(*(CK_SESSION_HANDLE *)session, pin);
    state(*(CK_SESSION_HANDLE *)session);
    p11->C_Logout(*(CK_SESSION_HANDLE *)session);
  }
  return NULL;
}

static void *ask(void *session)
{
  while (!stop) state(*(CK_SESSION_HANDLE *)session);
  return NULL;
}

static void *open_and_close(void *unused)
{
  while (!stop) {
    const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
    state(session);
    MUST(p11->C_CloseSession(session));
  }
  return unused;
}

static void threads(void)
{
  CK_SESSION_HANDLE session[4];
  pthread_t thread[5];
  for (int i = 0; i < 4; i++) session[i] = open_session(0);
  for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, i < 2 ? log_in_and_out : ask, &session[i]);
  pthread_create(&thread[4], NULL, open_and_close, NULL);
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  stop = 1;
  for (int i = 2; i < 5; i++) pthread_join(thread[i], NULL);
}

static void forked(const char *label)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  const pid_t child = fork();
  if (child < 0) DIE("fork");
  if (child == 0) {
    CK_INFO info;
    CK_SESSION_INFO unused;
    p11->C_GetInfo(&info);
    p11->C_GetSessionInfo(session, &unused);
    p11->C_GetSessionInfo(0, &unused);
    p11->C_Initialize(NULL); /* OK or already initialised: modules differ */
    slot = (CK_SLOT_ID)-1;
    find_slot(label);
    tour();
    p11->C_Finalize(NULL);
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) DIE("the child ended with %d", status);
}

int main(int argc, char **argv)
{
  if (argc != 5) DIE("usage: %s MODULE LABEL PIN ACTION", argv[0]);
  CK_INFO info;
  const char *action = argv[4];
  CK_C_INITIALIZE_ARGS args = {NULL, NULL, NULL, NULL, CKF_OS_LOCKING_OK, NULL};
  p11 = module_list(argv[1]);
  pin = argv[3];
  slot = (CK_SLOT_ID)-1;
  MUST(p11->C_Initialize(&args));
  p11->C_GetInfo(&info);
  find_slot(argv[2]);
  if (!strcmp(action, "tour"))
    tour();
  else if (!strcmp(action, "badpin"))
    badpin("not the PIN");
  else if (!strcmp(action, "samepin"))
    badpin(pin);
  else if (!strcmp(action, "null") || !strcmp(action, "nullargs"))
    null_session(action[4] != 0);
  else if (!strcmp(action, "parallel")) {
    CK_SESSION_HANDLE session;
    p11->C_OpenSession(slot, CKF_RW_SESSION, NULL, NULL, &session);
  } else if (!strcmp(action, "label"))
    labels();
  else if (!strcmp(action, "remove"))
    removed();
  else if (!strcmp(action, "threads"))
    threads();
  else if (!strcmp(action, "fork"))
    forked(argv[2]);
  else
    DIE("no action %s", action);
  MUST(p11->C_Finalize(NULL));
  return 0;
}
