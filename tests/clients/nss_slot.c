/* What a program does with NSS that NSS's own tools do not: waiting for cards, reading the list of slots again.
 *
 *   nss_slot DATABASE MODULE ACTION [TOKEN PIN]
 *
 * MODULE is the name in the database. ACTION: update  SECMOD_UpdateSlotList, twice
 *                                             wait    SECMOD_WaitForAnyTokenEvent, twice, without waiting
 *                                             cancel  one in another thread, ended by SECMOD_CancelWait; then looks at
 *                                                     all tokens
 *                                             present logs in to TOKEN, and asks three times, a second apart, whether it is
 *                                                     there: NSS asks the module once a second at most
 * Ends with 0 whatever NSS answers: only the trace is looked at. */
#include <nss.h>
#include <pk11pub.h>
#include <prthread.h>
#include <secmod.h>
#include <stdio.h>
#include <string.h>

static SECMODModule *module;

static void wait_for_event(unsigned long flags)
{
  PK11SlotInfo *slot = SECMOD_WaitForAnyTokenEvent(module, flags, PR_MillisecondsToInterval(50));
  if (slot != NULL) PK11_FreeSlot(slot);
}

static void wait_blocked(void *unused)
{
  (void)unused;
  wait_for_event(0);
}

static void cancel(void)
{
  PRThread *thread =
      PR_CreateThread(PR_USER_THREAD, wait_blocked, NULL, PR_PRIORITY_NORMAL, PR_GLOBAL_THREAD, PR_JOINABLE_THREAD, 0);
  PR_Sleep(PR_MillisecondsToInterval(100));
  SECMOD_CancelWait(module);
  PR_JoinThread(thread);
  for (int i = 0; i < module->slotCount; i++) {
    PK11_IsPresent(module->slots[i]);
    PK11_IsLoggedIn(module->slots[i], NULL);
  }
}

/* Where C_WaitForSlotEvent is not supported NSS polls, until a card comes: not here. */
static void wait_twice(void)
{
  for (int i = 0; i < 2; i++) wait_for_event(CKF_DONT_BLOCK);
}

static char *pin_of(PK11SlotInfo *slot, PRBool retry, void *pin)
{
  (void)slot;
  return retry ? NULL : PORT_Strdup(pin);
}

static void present(const char *token, char *pin)
{
  PK11SlotInfo *slot = PK11_FindSlotByName(token);
  if (slot == NULL) return;
  PK11_SetPasswordFunc(pin_of);
  PK11_Authenticate(slot, PR_TRUE, pin);
  for (int i = 0; i < 3; i++) {
    PK11_IsPresent(slot);
    if (i < 2) PR_Sleep(PR_MillisecondsToInterval(1100));
  }
  PK11_FreeSlot(slot);
}

int main(int argc, char **argv)
{
  if (argc != 4 && argc != 6) {
    fprintf(stderr, "usage: %s DATABASE MODULE ACTION [TOKEN PIN]\n", argv[0]);
    return 3;
  }
  if (NSS_Init(argv[1]) != SECSuccess || (module = SECMOD_FindModule(argv[2])) == NULL) {
    fprintf(stderr, "no database %s with a module %s\n", argv[1], argv[2]);
    return 3;
  }
  if (strcmp(argv[3], "update") == 0) {
    for (int i = 0; i < 2; i++) SECMOD_UpdateSlotList(module);
  } else if (strcmp(argv[3], "wait") == 0) {
    wait_twice();
  } else if (strcmp(argv[3], "present") == 0 && argc == 6) {
    present(argv[4], argv[5]);
  } else if (strcmp(argv[3], "cancel") == 0) {
    cancel();
  } else {
    fprintf(stderr, "no action %s\n", argv[3]);
    return 3;
  }
  SECMOD_DestroyModule(module);
  NSS_Shutdown();
  return 0;
}
