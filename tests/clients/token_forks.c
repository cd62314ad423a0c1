/* Processes that come from a host which is in the middle of using the token.
 *
 *   token_forks work MODULE PIN N    N forked children initialise, log in, sign and make a token object each, while three
 *                                    threads of the parent sign and write; prints what the parent then finds
 *   token_forks idle MODULE PIN N    N children only make calls that must be refused, and end by exit or _exit in turn
 *   token_forks spawn MODULE PIN N   fork and exec, vfork and exec, posix_spawn in turn
 *   token_forks nested MODULE PIN    a child that works and has a child that works, while its parent has ended
 */
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "token_use.h"

extern char **environ;

static struct host host;
static const char *pin;
static CK_OBJECT_HANDLE key;
static atomic_bool over;
static atomic_ulong rounds;

/* Each thread leaves one object for each round that it has counted. */
static void *busy(void *argument)
{
  bool writes = *(bool *)argument;
  CK_SESSION_HANDLE session = host_session(&host);
  while (!atomic_load(&over)) {
    CK_OBJECT_HANDLE object;
    MUST(host_sign(&host, session, key));
    MUST(host_create(&host, session, "passing", writes, &object));
    MUST(host.p11->C_DestroyObject(session, object));
    if (writes && atomic_fetch_add(&rounds, 1) < 200) MUST(host_create(&host, session, "parent", true, &object));
  }
  MUST(host.p11->C_CloseSession(session));
  return NULL;
}

static pthread_t threads[3];

static void begin(const char *path)
{
  static bool writes[] = {true, true, false};
  host.p11 = module_list(path);
  host_begin(&host);
  host_login(&host, pin);
  key = host_key(&host, host.session);
  for (int i = 0; i < 3; i++)
    if (pthread_create(&threads[i], NULL, busy, &writes[i]) != 0) DIE("pthread_create");
  while (atomic_load(&rounds) == 0) continue;
}

static void end(void)
{
  atomic_store(&over, true);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static void join(pid_t pid)
{
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) DIE("no child");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) DIE("a child ended with 0x%x", status);
}

/* What every function says to a child that has not initialised. */
static void refused(void)
{
  const CK_RV no = CKR_CRYPTOKI_NOT_INITIALIZED;
  CK_BYTE random[8];
  CK_ULONG count = 0;
  CK_INFO info;
  CK_SESSION_INFO session_info;
  CK_OBJECT_HANDLE object;
  if (host.p11->C_GetInfo(&info) != no || host.p11->C_GetSlotList(CK_TRUE, NULL, &count) != no) DIE("C_GetInfo");
  if (host.p11->C_GetSessionInfo(host.session, &session_info) != no) DIE("the parent's session");
  if (host.p11->C_GenerateRandom(host.session, random, sizeof random) != no) DIE("C_GenerateRandom");
  if (host_sign(&host, host.session, key) != no) DIE("the parent's key");
  if (host_create(&host, host.session, "refused", true, &object) != no) DIE("C_CreateObject");
  if (host.p11->C_Finalize(NULL) != no) DIE("C_Finalize");
}

/* A child's work; it ends without C_Finalize if `leave_it`. */
static void child_works(bool leave_it)
{
  struct host mine = {host.p11, 0, 0};
  CK_OBJECT_HANDLE object;
  CK_SESSION_INFO info;
  refused();
  host_begin(&mine);
  MUST(mine.p11->C_GetSessionInfo(mine.session, &info));
  if (info.state != CKS_RW_PUBLIC_SESSION) DIE("logged in by the parent: %lu", info.state);
  host_login(&mine, pin);
  MUST(host_sign(&mine, mine.session, host_key(&mine, mine.session)));
  MUST(host_create(&mine, mine.session, "child", true, &object));
  if (!leave_it) MUST(mine.p11->C_Finalize(NULL));
}

static void work(unsigned long n)
{
  for (unsigned long i = 0; i < n; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      child_works(i % 3 == 0);
      if (i % 2) _exit(0);
      exit(0);
    }
    join(pid);
  }
}

static void idle(unsigned long n)
{
  for (unsigned long i = 0; i < n; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      refused();
      if (i % 2) _exit(0);
      exit(0);
    }
    join(pid);
  }
}

static pid_t fork_exec(char **argv)
{
  pid_t pid = fork();
  if (pid != 0) return pid;
  execv("/bin/true", argv);
  _exit(1);
}

static pid_t vfork_exec(char **argv)
{
  pid_t pid = vfork();
  if (pid != 0) return pid;
  execv("/bin/true", argv);
  _exit(1);
}

static void spawn(unsigned long n)
{
  char *argv[] = {"true", NULL};
  for (unsigned long i = 0; i < n; i++) {
    pid_t pid = -1;
    join(fork_exec(argv));
    join(vfork_exec(argv));
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) != 0) DIE("posix_spawn");
    join(pid);
  }
}

/* The grandchild works while its parent, which has initialised too, is in the middle of its own life. */
static void nested(void)
{
  pid_t pid = fork();
  if (pid == 0) {
    refused();
    host_begin(&host);
    host_login(&host, pin);
    key = host_key(&host, host.session);
    pid_t grandchild = fork();
    if (grandchild == 0) {
      child_works(false);
      exit(0);
    }
    MUST(host_sign(&host, host.session, key));
    join(grandchild);
    MUST(host_sign(&host, host.session, key));
    MUST(host.p11->C_Finalize(NULL));
    exit(0);
  }
  join(pid);
}

int main(int argc, char **argv)
{
  if (argc < 4) DIE("see the top of token_forks.c");
  unsigned long n = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
  pin = argv[3];
  begin(argv[2]);
  if (strcmp(argv[1], "work") == 0)
    work(n);
  else if (strcmp(argv[1], "idle") == 0)
    idle(n);
  else if (strcmp(argv[1], "spawn") == 0)
    spawn(n);
  else if (strcmp(argv[1], "nested") == 0)
    nested();
  else
    DIE("see the top of token_forks.c");
  end();
  unsigned long kept = atomic_load(&rounds);
  printf("child %lu passing %lu parent %s\n", host_count(&host, host.session, "child"),
         host_count(&host, host.session, "passing"),
         host_count(&host, host.session, "parent") == (kept < 200 ? kept : 200) ? "complete" : "lost");
  MUST(host.p11->C_Finalize(NULL));
  return 0;
}
