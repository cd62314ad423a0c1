/* stacks chain|aligned|signal|altstack|jit|context MODULE N
 * stacks reload MODULE N LEFT RIGHT [threads]
 *
 * Makes calls from stacks that the test knows. Each mode makes its calls N times; chain makes one that succeeds and one that
 * fails each time. reload: two plugins take turns at one address, and each calls with a session of its own (0 in flags of
 * C_OpenSession's order: left first). */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "p11client.h"

#define FRAME __attribute__((noinline))
#define AFTER __asm__ volatile("" ::: "memory") /* no tail call */

static CK_FUNCTION_LIST_PTR p11;
static CK_SESSION_HANDLE session, right_session;

FRAME void stacks_call(void);
FRAME void stacks_one(void);
FRAME void stacks_two(void);
FRAME void stacks_three(void);
FRAME void stacks_aligned(int n);
FRAME void stacks_handler(int number);
FRAME void stacks_context(void);
void *stacks_thread(void *plugins);

FRAME void stacks_call(void)
{
  CK_SESSION_INFO info;
  MUST(p11->C_GetSessionInfo(session, &info));
  if (p11->C_GetSessionInfo(session + 1000, &info) == CKR_OK) DIE("a session that is not there");
  AFTER;
}

FRAME void stacks_three(void)
{
  stacks_call();
  AFTER;
}

FRAME void stacks_two(void)
{
  stacks_three();
  AFTER;
}

FRAME void stacks_one(void)
{
  stacks_two();
  AFTER;
}

/* A function that aligns its stack and does not know its size: the CFA is an expression. */
FRAME void stacks_aligned(int n)
{
  _Alignas(64) volatile char aligned[64];
  volatile char *unknown = __builtin_alloca((size_t)n);
  aligned[0] = unknown[0] = 1;
  stacks_call();
  aligned[1] = unknown[n - 1] = aligned[0];
}

FRAME void stacks_handler(int number)
{
  (void)number;
  stacks_call();
  AFTER;
}

static void signalled(int flags)
{
  struct sigaction action = {.sa_handler = stacks_handler, .sa_flags = flags};
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  AFTER;
}

static void from_altstack(void)
{
  static char stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  signalled(SA_ONSTACK);
}

/* Code without tables: push rbp; mov rbp, -1; call rdi; pop rbp; ret. */
static void from_jit(void)
{
  static const unsigned char code[] = {0x55, 0x48, 0xc7, 0xc5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xd7, 0x5d, 0xc3};
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) DIE("mmap");
  memcpy((char *)page + 4096 - sizeof code, code, sizeof code);
  ((void (*)(void (*)(void)))(void *)((char *)page + 4096 - sizeof code))(stacks_call);
  munmap(page, 4096);
}

static ucontext_t inside, outside;

FRAME void stacks_context(void)
{
  stacks_one();
  AFTER;
}

static void from_context(void)
{
  size_t size = 32768;
  char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) DIE("mmap");
  getcontext(&inside);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = size;
  inside.uc_link = &outside;
  makecontext(&inside, stacks_context, 0);
  swapcontext(&outside, &inside);
  munmap(stack, size);
}

static const char *plugin_path[2];
static uintptr_t plugin_at[2];
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static void reload(int which)
{
  CK_SESSION_HANDLE mine = which ? right_session : session;
  void *handle = dlopen(plugin_path[which], RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) DIE("%s", dlerror());
  void (*run)(CK_FUNCTION_LIST_PTR, CK_SESSION_HANDLE);
  *(void **)&run = dlsym(handle, "plugin_run");
  uintptr_t at = (uintptr_t)run;
  if (plugin_at[which] == 0) plugin_at[which] = at;
  if (plugin_at[which] != at) plugin_at[which] = 1;
  run(p11, mine);
  AFTER;
  dlclose(handle);
}

/* Calls of its own while the others load and unload, and a turn of it now and then. */
void *stacks_thread(void *turns)
{
  for (int i = 0; i < *(int *)turns; i++) {
    stacks_one();
    pthread_mutex_lock(&loading);
    reload(i & 1);
    pthread_mutex_unlock(&loading);
  }
  return NULL;
}

int main(int argc, char **argv)
{
  if (argc < 4) DIE("usage: stacks MODE MODULE N [LEFT RIGHT [THREADS]]");
  const char *mode = argv[1];
  int n = atoi(argv[3]), threads = argc > 6 ? atoi(argv[6]) : 0;
  CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
  p11 = module_list(argv[2]);
  MUST(p11->C_Initialize(&args));
  MUST(p11->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session));
  MUST(p11->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &right_session));
  if (strcmp(mode, "reload") == 0 && argc > 5) {
    plugin_path[0] = argv[4];
    plugin_path[1] = argv[5];
    pthread_t t[64];
    for (int i = 0; i < threads && i < 64; i++) pthread_create(&t[i], NULL, stacks_thread, &n);
    for (int i = 0; i < n; i++) {
      pthread_mutex_lock(&loading);
      reload(i & 1);
      pthread_mutex_unlock(&loading);
    }
    for (int i = 0; i < threads && i < 64; i++) pthread_join(t[i], NULL);
    printf("at %s\n", plugin_at[0] == plugin_at[1] && plugin_at[0] > 1 ? "one address" : "several addresses");
  }
  for (int i = 0; i < n && threads == 0; i++) {
    if (strcmp(mode, "chain") == 0) stacks_one();
    if (strcmp(mode, "aligned") == 0) stacks_aligned(100 + i);
    if (strcmp(mode, "signal") == 0) signalled(0);
    if (strcmp(mode, "altstack") == 0) from_altstack();
    if (strcmp(mode, "jit") == 0) from_jit();
    if (strcmp(mode, "context") == 0) from_context();
  }
  MUST(p11->C_Finalize(NULL));
  return 0;
}
