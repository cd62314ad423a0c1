/* bounded MODULE STEP...
 *
 * Does the steps in order between C_Initialize and C_Finalize, each on one session:
 *   poll N       N times C_GetObjectSize; the handle counts on from 1, so that the trace says which calls it has
 *   endless      the same until it is killed; the first 8 bytes of the file COUNTED hold how many have returned
 *   threads T N  T threads, each with N such calls of its own: handle = thread * 2^32 + count
 *   fault        a call on a session that is not open
 *   slow MS      the module takes its time: C_WaitForSlotEvent, see MOCK_BLOCK
 *   fork         the rest is done by a child; the parent waits and ends with the child's status
 *   signal       raises SIGUSR2
 *   handler      takes SIGUSR2 itself
 *   nap MS       sleeps
 *   chroot DIR   no file can be opened by its old name any more
 *   say          prints "ready" and waits for a line
 *   kill         SIGKILL to itself
 * Ends with "calls N": calls of C_GetObjectSize that returned. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR list;
static CK_SESSION_HANDLE session;
static _Atomic uint64_t calls, handled;

static void poll_once(CK_OBJECT_HANDLE handle)
{
  CK_ULONG size;
  MUST(list->C_GetObjectSize(session, handle, &size));
  atomic_fetch_add(&calls, 1);
}

static void endless(void)
{
  const char *path = getenv("COUNTED");
  int fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
  if (fd < 0 || ftruncate(fd, 4096) != 0) DIE("COUNTED");
  _Atomic uint64_t *counted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if ((void *)counted == MAP_FAILED) DIE("mmap");
  for (;;) {
    poll_once(atomic_load(&calls) + 1);
    atomic_store(counted, atomic_load(&calls));
  }
}

struct share {
  uint64_t thread, n;
};

static void *work(void *argument)
{
  const struct share *s = argument;
  for (uint64_t i = 1; i <= s->n; i++) poll_once(s->thread << 32 | i);
  return NULL;
}

static void threads(unsigned long t, unsigned long n)
{
  pthread_t thread[64];
  struct share share[64];
  for (unsigned long i = 0; i < t && i < 64; i++) {
    share[i] = (struct share){i + 1, n};
    if (pthread_create(&thread[i], NULL, work, &share[i]) != 0) DIE("pthread_create");
  }
  for (unsigned long i = 0; i < t && i < 64; i++) pthread_join(thread[i], NULL);
}

static void on_signal(int number)
{
  (void)number;
  atomic_fetch_add(&handled, 1);
}

int main(int argc, char **argv)
{
  if (argc < 2) DIE("usage: bounded MODULE STEP...");
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "handler") == 0) signal(SIGUSR2, on_signal);
  }
  list = module_list(argv[1]);
  MUST(list->C_Initialize(NULL));
  MUST(list->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session));
  for (int i = 2; i < argc; i++) {
    const char *step = argv[i];
    unsigned long n = i + 1 < argc ? strtoul(argv[i + 1], NULL, 10) : 0;
    if (strcmp(step, "poll") == 0) {
      for (i++; n > 0; n--) poll_once(atomic_load(&calls) + 1);
    } else if (strcmp(step, "endless") == 0) {
      endless();
    } else if (strcmp(step, "threads") == 0) {
      threads(n, i + 2 < argc ? strtoul(argv[i + 2], NULL, 10) : 0);
      i += 2;
    } else if (strcmp(step, "fault") == 0) {
      CK_SESSION_INFO info;
      if (list->C_GetSessionInfo(0xdead, &info) == CKR_OK) DIE("no fault");
    } else if (strcmp(step, "slow") == 0) {
      CK_SLOT_ID slot;
      list->C_WaitForSlotEvent(0, &slot, NULL);
    } else if (strcmp(step, "fork") == 0) {
      int status;
      pid_t child = fork();
      if (child > 0 && waitpid(child, &status, 0) == child) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 9);
    } else if (strcmp(step, "signal") == 0) {
      raise(SIGUSR2);
    } else if (strcmp(step, "nap") == 0) {
      usleep((useconds_t)n * 1000);
      i++;
    } else if (strcmp(step, "chroot") == 0 && i + 1 < argc) {
      if (chroot(argv[++i]) != 0 || chdir("/") != 0) DIE("chroot %s", argv[i]);
    } else if (strcmp(step, "say") == 0) {
      puts("ready");
      fflush(stdout);
      getchar();
    } else if (strcmp(step, "kill") == 0) {
      kill(getpid(), SIGKILL);
    } else if (strcmp(step, "handler") != 0) {
      DIE("step %s", step);
    }
  }
  MUST(list->C_Finalize(NULL));
  if (handled > 0) printf("handled %lu\n", (unsigned long)handled);
  printf("calls %lu\n", (unsigned long)calls);
  return 0;
}
