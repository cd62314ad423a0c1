/* What the actions of check_client share: the token that was asked for, sessions, logins, objects.
 *
 * An action is a function `static void name(void)` in a header of a group of rules (check_login.h ...), which
 * check_client.c includes, and a line in its table. It runs between C_Initialize and C_Finalize, and need not check what
 * the module answers: only the trace is looked at. */
#ifndef CHECK_CLIENT_H
#define CHECK_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "p11client.h"

/* A group does not need all of these. */
#define MAYBE __attribute__((unused)) static

static CK_FUNCTION_LIST_PTR p11;
static const char *module_path;
static CK_SLOT_ID slot; /* of the token that is called `label` */
static const char *label, *pin;
static char **more; /* the arguments behind the action, up to NULL */

static void find_slot(void)
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

MAYBE CK_SESSION_HANDLE open_session(CK_FLAGS flags)
{
  CK_SESSION_HANDLE session;
  MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | flags, NULL, NULL, &session));
  return session;
}

MAYBE CK_STATE state(CK_SESSION_HANDLE session)
{
  CK_SESSION_INFO info;
  MUST(p11->C_GetSessionInfo(session, &info));
  return info.state;
}

MAYBE CK_RV login(CK_SESSION_HANDLE session, const char *with)
{
  return p11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)with, strlen(with));
}

MAYBE void sleep_ms(long ms)
{
  nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* One template for all, as NSS does it: the lengths, then the values; then each attribute alone. */
MAYBE void read_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
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

MAYBE void read_all(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class)
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

#endif
