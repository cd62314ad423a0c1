/* A program that waits for cards as a desktop does, through NSS; it is told what to do line by line.
 *
 *   nss_events DATABASE MODULE TOKEN PIN
 *
 * wait    begins SECMOD_WaitForAnyTokenEvent in another thread, which says "event: TOKEN present|absent", or "event: none"
 *         after `cancel`
 * cancel  SECMOD_CancelWait; says "cancelled" when the other thread has ended
 * login   "login: ok|failed"
 * look    "look: present|absent, logged in|logged out, N keys" */
#include <keyhi.h>
#include <nss.h>
#include <pk11pub.h>
#include <prthread.h>
#include <secmod.h>
#include <stdio.h>
#include <string.h>

static SECMODModule *module;
static PRThread *thread;

static void wait_blocked(void *unused)
{
  (void)unused;
  PK11SlotInfo *slot = SECMOD_WaitForAnyTokenEvent(module, 0, PR_MillisecondsToInterval(200));
  if (slot == NULL) {
    puts("event: none");
    return;
  }
  const int present = PK11_IsPresent(slot);
  printf("event: %s %s\n", PK11_GetTokenName(slot), present ? "present" : "absent");
  PK11_FreeSlot(slot);
}

static char *pin_of(PK11SlotInfo *slot, PRBool retry, void *pin)
{
  (void)slot;
  return retry ? NULL : PORT_Strdup(pin);
}

static void look(PK11SlotInfo *slot)
{
  /* Of a token that is not there NSS does not ask whether somebody is logged in: it says yes. */
  const int present = PK11_IsPresent(slot), logged_in = present && PK11_IsLoggedIn(slot, NULL);
  SECKEYPrivateKeyList *keys = logged_in ? PK11_ListPrivKeysInSlot(slot, NULL, NULL) : NULL;
  int count = 0;
  if (keys != NULL) {
    for (SECKEYPrivateKeyListNode *n = PRIVKEY_LIST_HEAD(keys); !PRIVKEY_LIST_END(n, keys); n = PRIVKEY_LIST_NEXT(n))
      count++;
    SECKEY_DestroyPrivateKeyList(keys);
  }
  printf("look: %s, logged %s, %d keys\n", present ? "present" : "absent", logged_in ? "in" : "out", count);
}

int main(int argc, char **argv)
{
  char line[64];
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc != 5 || NSS_InitReadWrite(argv[1]) != SECSuccess || (module = SECMOD_FindModule(argv[2])) == NULL) {
    fprintf(stderr, "usage: %s DATABASE MODULE TOKEN PIN\n", argv[0]);
    return 3;
  }
  PK11_SetPasswordFunc(pin_of);
  PK11SlotInfo *slot = PK11_FindSlotByName(argv[3]);
  if (slot == NULL) return 3;
  puts("ready");
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "wait") == 0) {
      if (thread != NULL) PR_JoinThread(thread);
      thread = PR_CreateThread(PR_USER_THREAD, wait_blocked, NULL, PR_PRIORITY_NORMAL, PR_GLOBAL_THREAD,
                               PR_JOINABLE_THREAD, 0);
    } else if (strcmp(line, "cancel") == 0) {
      SECMOD_CancelWait(module);
      PR_JoinThread(thread);
      thread = NULL;
      puts("cancelled");
    } else if (strcmp(line, "login") == 0) {
      printf("login: %s\n", PK11_Authenticate(slot, PR_TRUE, argv[4]) == SECSuccess ? "ok" : "failed");
    } else if (strcmp(line, "look") == 0) {
      look(slot);
    }
  }
  if (thread != NULL) PR_JoinThread(thread);
  PK11_FreeSlot(slot);
  SECMOD_DestroyModule(module);
  return NSS_Shutdown() == SECSuccess ? 0 : 1;
}
