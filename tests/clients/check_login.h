/* Actions for the rules of logins, PINs and tokens. Arguments that an action takes stand in `more`. */
#ifndef CHECK_LOGIN_H
#define CHECK_LOGIN_H

#include "check_client.h"

static void token_info(void)
{
  CK_TOKEN_INFO info;
  p11->C_GetTokenInfo(slot, &info);
}

static CK_RV login_as(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *with)
{
  return p11->C_Login(session, user, (CK_UTF8CHAR_PTR)with, strlen(with));
}

/* The same user twice. */
static void login_twice(void)
{
  const CK_SESSION_HANDLE one = open_session(0), other = open_session(CKF_RW_SESSION);
  login(one, pin);
  state(one);
  login(other, pin);
  state(other);
  p11->C_Logout(one);
}

/* Logging in three times, as one who asks for the state and does not look at the answer. */
static void login_thrice(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  for (int i = 0; i < 3; i++) {
    login(session, pin);
    state(session);
    state(session);
  }
  p11->C_Logout(session);
}

static void logout_twice(void)
{
  const CK_SESSION_HANDLE one = open_session(0), other = open_session(0);
  CK_SESSION_INFO info;
  login(one, pin);
  state(one);
  p11->C_Logout(one);
  state(one);
  p11->C_Logout(one);
  p11->C_GetSessionInfo(other, &info);
}

/* A wrong PIN, and what the token counts. */
static void lowpin(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  token_info();
  login(session, "not the PIN");
  token_info();
  login(session, pin);
  token_info();
}

static void *log_in(void *session)
{
  login(*(CK_SESSION_HANDLE *)session, pin);
  return NULL;
}

/* Two threads that ask the user at the same time. */
static void two_logins(void)
{
  pthread_t thread;
  CK_SESSION_HANDLE one = open_session(0), other = open_session(0);
  pthread_create(&thread, NULL, log_in, &one);
  login(other, pin);
  pthread_join(thread, NULL);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static CK_ULONG private_keys(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *key, CK_ULONG room)
{
  CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS, &class, sizeof class},
      {CKA_TOKEN, &yes,   sizeof yes  }
  };
  CK_ULONG count = 0;
  if (p11->C_FindObjectsInit(session, what, 2) != CKR_OK) return 0;
  p11->C_FindObjects(session, key, room, &count);
  p11->C_FindObjectsFinal(session);
  return count;
}

static CK_RV read_policy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BBOOL *always)
{
  CK_ATTRIBUTE a = {CKA_ALWAYS_AUTHENTICATE, always, sizeof *always};
  *always = CK_FALSE;
  return p11->C_GetAttributeValue(session, key, &a, 1);
}

static CK_RV sign(CK_SESSION_HANDLE session)
{
  CK_BYTE data[32] = {1}, signature[512];
  CK_ULONG length = sizeof signature;
  return p11->C_Sign(session, data, sizeof data, signature, &length);
}

/* Signs with each private key. more[0]: steps after the Init, before C_Sign; a: read CKA_ALWAYS_AUTHENTICATE; l: log in for
 * the operation, if that was true; w: with a wrong PIN; q: ask for slot, token and state; s: the use itself, which comes last
 * in any case. more[1]: how often. */
static void signs(void)
{
  CK_OBJECT_HANDLE key[8];
  CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
  const CK_SESSION_HANDLE session = open_session(0), other = open_session(0);
  login(session, pin);
  state(session);
  const CK_ULONG count = private_keys(session, key, 8);
  for (int times = more[1] ? atoi(more[1]) : 1; times > 0; times--)
    for (CK_ULONG i = 0; i < count; i++) {
      CK_BBOOL always = CK_FALSE;
      CK_SLOT_INFO info;
      if (p11->C_SignInit(session, &mechanism, key[i]) != CKR_OK) continue;
      for (const char *step = more[0]; *step; step++) {
        if (*step == 'a') read_policy(session, key[i], &always);
        if (*step == 'w' && always) login_as(session, CKU_CONTEXT_SPECIFIC, "not the PIN");
        if (*step == 'l' && always) login_as(session, CKU_CONTEXT_SPECIFIC, pin);
        if (*step == 'q') {
          p11->C_GetSlotInfo(slot, &info);
          state(other);
          token_info();
        }
      }
      sign(session);
    }
  state(session);
}

/* A login for an operation that is not there. */
static void context(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  login_as(session, CKU_CONTEXT_SPECIFIC, pin);
  state(session);
}

/* What is there without a login, and what with one. */
static void search_twice(void)
{
  CK_OBJECT_HANDLE key[8];
  const CK_SESSION_HANDLE session = open_session(0);
  private_keys(session, key, 8);
  login(session, pin);
  state(session);
  private_keys(session, key, 8);
}

/* --- the SO, PINs ------------------------------------------------------------------------------------------------- */

static void other_pin(CK_SESSION_HANDLE session, const char *old, const char *new)
{
  p11->C_SetPIN(session, (CK_UTF8CHAR_PTR)old, strlen(old), (CK_UTF8CHAR_PTR) new, strlen(new));
}

/* Changes the PIN to more[0] and back, and logs in with both. */
static void change_pin(void)
{
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  const char *new = more[0];
  state(session);
  other_pin(session, pin, new);
  login(session, new);
  p11->C_Logout(session);
  login(session, pin);
  p11->C_Logout(session);
  other_pin(session, new, pin);
}

/* What C_SetPIN refuses: a wrong PIN, a PIN that is too short, a read-only session. */
static void bad_change(void)
{
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION), ro = open_session(0);
  state(session);
  other_pin(session, "not the PIN", "another one");
  other_pin(session, pin, "x");
  other_pin(ro, pin, "another one");
}

/* Makes the token anew (more[0]: the SO's PIN), gives the user a PIN, and reads the flags after each step. */
static void first_pin(void)
{
  CK_UTF8CHAR name[32];
  memset(name, ' ', sizeof name);
  memcpy(name, label, strlen(label));
  p11->C_InitToken(slot, (CK_UTF8CHAR_PTR)more[0], strlen(more[0]), name);
  token_info();
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  login_as(session, CKU_SO, more[0]);
  state(session);
  p11->C_InitPIN(session, (CK_UTF8CHAR_PTR)pin, strlen(pin));
  token_info();
  p11->C_Logout(session);
  login(session, pin);
  state(session);
  token_info();
}

/* The SO's login beside a read-only session, as NSS does it, and a read-only session beside the SO. */
static void so_login(void)
{
  CK_SESSION_HANDLE unused;
  const CK_SESSION_HANDLE ro = open_session(0), session = open_session(CKF_RW_SESSION);
  state(ro);
  login_as(session, CKU_SO, more[0]);
  CK_SESSION_INFO info;
  p11->C_GetSessionInfo(session, &info);
  p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &unused);
}

/* The same with read/write sessions only. */
static void so_alone(void)
{
  CK_SESSION_HANDLE unused;
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  login_as(session, CKU_SO, more[0]);
  state(session);
  p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &unused);
  p11->C_InitPIN(session, (CK_UTF8CHAR_PTR)pin, strlen(pin));
  p11->C_Logout(session);
}

/* What is the SO's, without the SO; a new beginning while a session is open. */
static void not_so(void)
{
  CK_UTF8CHAR name[32];
  memset(name, ' ', sizeof name);
  memcpy(name, label, strlen(label));
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  state(session);
  p11->C_InitPIN(session, (CK_UTF8CHAR_PTR)pin, strlen(pin));
  p11->C_InitToken(slot, (CK_UTF8CHAR_PTR)more[0], strlen(more[0]), name);
}

/* --- the token ---------------------------------------------------------------------------------------------------- */

/* No PIN: the token is to ask for it. */
static void pad(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  p11->C_Login(session, CKU_USER, NULL, 0);
  state(session);
}

/* What is there without a login. */
static void look(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  state(session);
  read_all(session, CKO_CERTIFICATE);
}

/* Writes a token object, changes it, and destroys it. */
static void writes(void)
{
  CK_OBJECT_CLASS class = CKO_DATA;
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS, &class,           sizeof class},
      {CKA_TOKEN, &yes,             sizeof yes  },
      {CKA_LABEL, (void *)"a note", 6           },
      {CKA_VALUE, (void *)"text",   4           }
  };
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
  CK_SESSION_HANDLE session;
  if (p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) != CKR_OK) return;
  login(session, pin);
  state(session);
  token_info();
  if (p11->C_CreateObject(session, what, 4, &object) != CKR_OK) return;
  p11->C_SetAttributeValue(session, object, &what[2], 1);
  p11->C_DestroyObject(session, object);
}

/* One session after the other, six in all, and how many the token counts. */
static void many_sessions(void)
{
  CK_SESSION_HANDLE session;
  for (int i = 0; i < 6; i++) {
    p11->C_OpenSession(slot, CKF_SERIAL_SESSION | (i == 0 ? CKF_RW_SESSION : 0), NULL, NULL, &session);
    token_info();
  }
}

#endif
