/* Actions for the rules of slots: what happens when a card is pulled, and waiting for that. */
#ifndef CHECK_SLOT_H
#define CHECK_SLOT_H

#include "check_client.h"

static CK_FLAGS slot_flags(void)
{
  CK_SLOT_INFO info = {.flags = 0};
  p11->C_GetSlotInfo(slot, &info);
  return info.flags;
}

/* The slots once more, as NSS does it when a certificate is looked for in a new reader. */
static void list_again(void)
{
  CK_SLOT_ID id[64];
  CK_SLOT_INFO info;
  CK_ULONG count = 64;
  p11->C_GetSlotList(CK_FALSE, NULL, &count);
  count = 64;
  p11->C_GetSlotList(CK_FALSE, id, &count);
  p11->C_GetSlotInfo(slot, &info);
}

/* A slot of the first list, although there is no second one. */
static void ask_slots(void)
{
  CK_SLOT_ID id[64];
  CK_SLOT_INFO info;
  CK_ULONG count = 64;
  MUST(p11->C_GetSlotList(CK_FALSE, id, &count));
  for (CK_ULONG i = 0; i < count; i++) p11->C_GetSlotInfo(id[i], &info);
}

static void open_thrice(void)
{
  CK_SESSION_HANDLE session;
  for (int i = 0; i < 3; i++) {
    slot_flags();
    p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
  }
}

/* A card is pulled after the login, for some faults; two looks at slot and session, then a new session if there is a
 * card. */
static void pull_card(void)
{
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  for (int i = 0; i < 2; i++) {
    slot_flags();
    p11->C_GetSessionInfo(session, &info);
  }
  if (slot_flags() & CKF_TOKEN_PRESENT && p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session) == CKR_OK)
    p11->C_GetSessionInfo(session, &info);
}

/* Opens the session again when it is gone. */
static void keep_session(void)
{
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE session = open_session(0);
  for (int i = 0; i < 4; i++)
    if (p11->C_GetSessionInfo(session, &info) == CKR_SESSION_HANDLE_INVALID)
      p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
}

/* --- C_WaitForSlotEvent ------------------------------------------------------------------------------------------- */

static atomic_int waiting;

static void *wait_for_event(void *unused)
{
  CK_SLOT_ID id;
  p11->C_WaitForSlotEvent(0, &id, NULL);
  waiting--;
  return unused;
}

static void start_waiter(void)
{
  pthread_t thread;
  waiting++;
  pthread_create(&thread, NULL, wait_for_event, NULL);
  pthread_detach(thread);
  sleep_ms(50);
}

static void *wait_again_and_again(void *times)
{
  CK_SLOT_ID id;
  CK_RV rv = CKR_OK;
  for (int i = 0; i < *(const int *)times && rv != CKR_CRYPTOKI_NOT_INITIALIZED; i++)
    rv = p11->C_WaitForSlotEvent(0, &id, NULL);
  waiting--;
  return times;
}

/* In another thread, because a module that can wait does so until C_Finalize. */
static void wait_times(const int *times)
{
  pthread_t thread;
  waiting++;
  pthread_create(&thread, NULL, wait_again_and_again, (void *)times);
  pthread_detach(thread);
  for (int i = 0; waiting && i < 10; i++) sleep_ms(50);
}

static void wait_twice(void)
{
  static const int times = 2;
  wait_times(&times);
}

/* As often as a careless program does it. */
static void wait_in_a_loop(void)
{
  static const int times = 8;
  wait_times(&times);
}

/* C_Finalize ends the wait; what does not end is given more than a second. */
static void end_wait(void)
{
  static CK_C_INITIALIZE_ARGS args = {NULL, NULL, NULL, NULL, CKF_OS_LOCKING_OK, NULL};
  start_waiter();
  MUST(p11->C_Finalize(NULL));
  for (int i = 0; waiting && i < 22; i++) sleep_ms(50);
  MUST(p11->C_Initialize(&args));
}

static void wait_for_two(void)
{
  start_waiter();
  start_waiter();
}

/* A login during which the card is pulled, for some faults, while somebody waits for that. */
static void wait_for_removal(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  start_waiter();
  slot_flags();
  login(session, pin);
  for (int i = 0; waiting && i < 103; i++) {
    slot_flags();
    sleep_ms(50);
  }
}

#endif
