/* Actions for the rules of the login state, as sessions report it. */
#include "check_client.h"

static CK_SESSION_HANDLE on_slot(CK_SLOT_ID of)
{
  CK_SESSION_HANDLE session;
  MUST(p11->C_OpenSession(of, CKF_SERIAL_SESSION, NULL, NULL, &session));
  return session;
}

static void states_of_all(void)
{
  const CK_SESSION_HANDLE first = open_session(0), second = open_session(0), rw = open_session(CKF_RW_SESSION);
  const CK_SESSION_HANDLE all[] = {first, second, rw};
  for (int i = 0; i < 3; i++) state(all[i]);
  login(first, pin);
  state(first);
  for (int i = 0; i < 6; i++) state(all[i % 3]);
  const CK_SESSION_HANDLE late = open_session(0);
  state(late);
  state(first);
  p11->C_Logout(first);
  for (int i = 0; i < 3; i++) state(all[i]);
}

/* The session that logs in is asked last. */
static void states_of_others(void)
{
  const CK_SESSION_HANDLE first = open_session(0), second = open_session(0);
  login(first, pin);
  state(second);
  state(first);
}

static void info_between(void)
{
  CK_TOKEN_INFO info;
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  state(session);
  MUST(p11->C_GetTokenInfo(slot, &info));
  state(session);
}

/* Every session is closed, and another one opened; the argument says what is done then: "state" or "login". */
static void after_last(void)
{
  CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  state(session);
  MUST(p11->C_CloseAllSessions(slot));
  session = open_session(0);
  if (!strcmp(more[0], "login")) login(session, pin);
  state(session);
}

static void after_close(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  state(session);
  MUST(p11->C_CloseSession(open_session(0)));
  state(session);
}

static void operation_after_close(void)
{
  CK_MECHANISM sha = {CKM_SHA256, NULL, 0};
  CK_BYTE data[4] = "data", out[32];
  CK_ULONG length = sizeof out;
  const CK_SESSION_HANDLE session = open_session(0);
  MUST(p11->C_DigestInit(session, &sha));
  MUST(p11->C_CloseSession(open_session(0)));
  p11->C_Digest(session, data, sizeof data, out, &length);
}

static void after_setpin(void)
{
  CK_UTF8CHAR_PTR same = (CK_UTF8CHAR_PTR)pin;
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  login(session, pin);
  state(session);
  p11->C_SetPIN(session, same, strlen(pin), same, strlen(pin));
  state(session);
}

/* The argument is the label of another token. */
static void state_of_other(void)
{
  const CK_SLOT_ID first = slot;
  slot = (CK_SLOT_ID)-1;
  label = more[0];
  find_slot();
  const CK_SESSION_HANDLE here = on_slot(first), there = on_slot(slot);
  state(here);
  state(there);
  login(here, pin);
  state(here);
  state(there);
  p11->C_Logout(here);
  state(there);
}
