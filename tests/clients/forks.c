/* forks before|between|clone|vfork|quiet|quick|exec MODULE    one child, forked when the name says; quiet: it makes
 * no call; exec: it becomes another program
 * forks inside MODULE                                         the module forks in C_Sign (the mock: MOCK_FORK=C_Sign)
 * forks busy MODULE [CHILDREN THREADS]                        30 children, forked while 3 threads make calls
 *
 * Prints "parent PID CALLS" and "child PID CALLS": the calls that each of them made. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR list;
static CK_SESSION_HANDLE session;
static unsigned calls;
static atomic_int stop;

static void poll_session(int n)
{
  CK_SESSION_INFO info;
  for (int i = 0; i < n; i++, calls++) list->C_GetSessionInfo(session, &info);
}

static void begin(void)
{
  list->C_Initialize(NULL); /* a forked child is told that the module is initialised already */
  list->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session);
  calls += 2;
}

static void say(const char *who)
{
  printf("%s %d %u\n", who, (int)getpid(), calls);
  fflush(stdout);
}

static void child(const char *mode)
{
  calls = 0;
  if (strcmp(mode, "quiet") == 0 || strcmp(mode, "vfork") == 0) return;
  begin();
  poll_session(10);
}

/* -1: any child. */
static void join(pid_t pid)
{
  int status;
  if (waitpid(pid, &status, 0) <= 0) DIE("no child");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) DIE("child ended with 0x%x", status);
}

static void *poll_on(void *unused)
{
  CK_SESSION_INFO info;
  (void)unused;
  while (!atomic_load(&stop)) list->C_GetSessionInfo(session, &info);
  return NULL;
}

/* Children are forked while other threads are in the middle of calls and flushes. */
static void busy(int children, int threads)
{
  pthread_t thread[64];
  begin();
  for (int i = 0; i < threads; i++) {
    if (pthread_create(&thread[i], NULL, poll_on, NULL) != 0) DIE("pthread_create");
  }
  for (int i = 0; i < children; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      child("between");
      say("child");
      exit(0);
    }
    join(pid);
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
  say("parent");
}

static void inside(void)
{
  CK_BYTE data[8] = {0}, signature[64];
  CK_ULONG n = sizeof signature;
  pid_t me = getpid();
  begin();
  MUST(list->C_Sign(session, data, sizeof data, signature, &n));
  if (getpid() != me) {
    calls = 0;
    poll_session(10);
    say("child");
    exit(0);
  }
  calls++;
  poll_session(10);
  join(-1);
  say("parent");
}

int main(int argc, char **argv)
{
  if (argc != 3 && argc != 5)
    DIE("usage: forks before|between|clone|vfork|quiet|quick|exec|busy|inside MODULE [CHILDREN THREADS]");
  const char *mode = argv[1];
  list = module_list(argv[2]);
  if (strcmp(mode, "busy") == 0 || strcmp(mode, "inside") == 0) {
    if (strcmp(mode, "busy") == 0)
      busy(argc == 5 ? atoi(argv[3]) : 30, argc == 5 ? atoi(argv[4]) : 3);
    else
      inside();
    return 0;
  }
  if (strcmp(mode, "before") != 0) {
    begin();
    poll_session(10);
  }
  pid_t pid;
  if (strcmp(mode, "vfork") == 0) {
    pid = vfork();
    if (pid == 0) {
      execl("/bin/true", "true", (char *)NULL);
      _exit(1);
    }
  } else {
    pid = strcmp(mode, "clone") == 0 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
    if (pid == 0) {
      if (strcmp(mode, "exec") == 0) {
        execl("/proc/self/exe", "forks", "quiet", argv[2], (char *)NULL);
        _exit(1);
      }
      child(mode);
      say("child");
      if (strcmp(mode, "quick") == 0) _exit(0);
      exit(0);
    }
  }
  join(pid);
  if (strcmp(mode, "before") == 0) begin();
  poll_session(10);
  say("parent");
  return 0;
}
