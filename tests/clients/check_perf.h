/* Actions for the rules of time and threads: test_rules_perf.py. */
#ifndef CHECK_PERF_H
#define CHECK_PERF_H

#include "check_client.h"

/* What NSS asks once a second, thirty times. */
static void poll_state(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  for (int i = 0; i < 30; i++) {
    CK_SLOT_ID id[64];
    CK_ULONG count = 64;
    CK_SLOT_INFO slot_info;
    CK_TOKEN_INFO token;
    p11->C_GetSlotList(CK_FALSE, id, &count);
    p11->C_GetSlotInfo(slot, &slot_info);
    p11->C_GetTokenInfo(slot, &token);
    state(session);
  }
}

static void *ask_after_a_while(void *session)
{
  sleep_ms(20);
  state(*(CK_SESSION_HANDLE *)session);
  return NULL;
}

/* The state of one session while another one logs in or signs, four times. */
static void wait_for(void (*act)(CK_SESSION_HANDLE session))
{
  CK_SESSION_HANDLE session = open_session(0), other = open_session(0);
  for (int i = 0; i < 10; i++) state(other);
  for (int i = 0; i < 4; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, ask_after_a_while, &other);
    act(session);
    pthread_join(thread, NULL);
  }
}

static void log_in_and_wait(CK_SESSION_HANDLE session)
{
  login(session, pin);
  p11->C_Logout(session);
}

static void wait_for_login(void)
{
  wait_for(log_in_and_wait);
}

static CK_OBJECT_HANDLE rsa_private_key(CK_SESSION_HANDLE session)
{
  static CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
  static CK_KEY_TYPE type = CKK_RSA;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,    &class, sizeof class},
      {CKA_KEY_TYPE, &type,  sizeof type }
  };
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG count = 0;
  p11->C_FindObjectsInit(session, what, 2);
  p11->C_FindObjects(session, &key, 1, &count);
  p11->C_FindObjectsFinal(session);
  return key;
}

static void rsa_sign_with(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
  CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
  CK_BYTE data[32] = {0}, signature[512];
  CK_ULONG length = sizeof signature;
  if (p11->C_SignInit(session, &mechanism, key) == CKR_OK) p11->C_Sign(session, data, sizeof data, signature, &length);
}

static CK_OBJECT_HANDLE key_of_token;

static void rsa_sign_once(CK_SESSION_HANDLE session)
{
  rsa_sign_with(session, key_of_token);
}

static void wait_for_signature(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  key_of_token = rsa_private_key(session);
  wait_for(rsa_sign_once);
}

static void *sign_and_search(void *unused)
{
  const CK_SESSION_HANDLE session = open_session(0);
  for (int i = 0; i < 20; i++) {
    rsa_sign_with(session, key_of_token);
    if (p11->C_FindObjectsInit(session, NULL, 0) == CKR_OK) p11->C_FindObjectsFinal(session);
  }
  return unused;
}

/* Signatures and searches, first one after another and then in four threads, each with its session. */
static void race(void)
{
  pthread_t thread[4];
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  key_of_token = rsa_private_key(session);
  sign_and_search(NULL);
  for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, sign_and_search, NULL);
  for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
}

#endif
