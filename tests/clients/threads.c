/* threads order MODULE THREADS CALLS FILE   numbered calls; FILE gets what the client's own clock says of each
 * threads blocked MODULE                     C_GetInfo beside a C_WaitForSlotEvent that blocks
 * threads cancel MODULE THREADS              threads that block in C_Sign are cancelled (the mock: MOCK_HANG=C_Sign)
 * threads flush MODULE CALLS                 short-lived threads are cancelled while all of them make CALLS calls
 * threads churn MODULE THREADS               THREADS threads one after another, three calls each
 * threads poll MODULE CALLS                  one thread; the calls' arguments do not compress
 * threads first MODULE                       a thread that is to be cancelled makes a fork's first call
 *
 * All end with "calls N": calls that returned, C_Initialize to C_Finalize. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR list;
static atomic_ulong calls;

#define CALL(what)    \
  do {                \
    MUST(list->what); \
    calls++;          \
  } while (0)

static uint64_t now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static CK_SESSION_HANDLE session_open(void)
{
  CK_SESSION_HANDLE session;
  CALL(C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session));
  return session;
}

static void thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
  if (pthread_create(thread, NULL, run, argument) != 0) DIE("pthread_create");
}

/* --- order: the object handle numbers the call, the session names the thread --- */

struct noted {
  uint64_t session, index, before, after;
};
struct worker {
  pthread_t thread;
  struct noted *noted;
  unsigned long n;
};
static pthread_barrier_t all_ready;

static void *work(void *argument)
{
  struct worker *w = argument;
  CK_SESSION_HANDLE session = session_open();
  CK_ULONG size;
  pthread_barrier_wait(&all_ready);
  for (unsigned long i = 0; i < w->n; i++) {
    struct noted *n = &w->noted[i];
    n->session = session;
    n->index = i + 1;
    n->before = now();
    CALL(C_GetObjectSize(session, i + 1, &size));
    n->after = now();
  }
  return NULL;
}

static void order(unsigned threads, unsigned long n, const char *path)
{
  struct worker *w = calloc(threads, sizeof *w);
  FILE *f = fopen(path, "wb");
  if (w == NULL || f == NULL) DIE("%s", path);
  pthread_barrier_init(&all_ready, NULL, threads);
  for (unsigned i = 0; i < threads; i++) {
    w[i].n = n / threads;
    w[i].noted = calloc(w[i].n, sizeof(struct noted));
    thread_start(&w[i].thread, work, &w[i]);
  }
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(w[i].thread, NULL);
    if (fwrite(w[i].noted, sizeof(struct noted), w[i].n, f) != w[i].n) DIE("%s", path);
    free(w[i].noted);
  }
  if (fclose(f) != 0) DIE("%s", path);
  free(w);
}

/* --- blocked --- */

static void *wait_for_event(void *argument)
{
  CK_SLOT_ID slot;
  (void)argument;
  CK_RV rv = list->C_WaitForSlotEvent(0, &slot, NULL);
  calls++;
  printf("C_WaitForSlotEvent=0x%lx\n", rv);
  return NULL;
}

static void blocked(void)
{
  pthread_t waiter;
  CK_INFO info;
  uint64_t longest = 0;
  thread_start(&waiter, wait_for_event, NULL);
  usleep(100000);
  for (int i = 0; i < 2000; i++) {
    uint64_t before = now();
    CALL(C_GetInfo(&info));
    if (now() - before > longest) longest = now() - before;
  }
  printf("longest %lu us\n", (unsigned long)(longest / 1000));
  CALL(C_Finalize(NULL));
  pthread_join(waiter, NULL);
}

/* --- cancel --- */

static void *sign_for_ever(void *argument)
{
  CK_BYTE data[8] = {0}, signature[64];
  CK_ULONG n = sizeof signature;
  list->C_Sign(*(CK_SESSION_HANDLE *)argument, data, sizeof data, signature, &n);
  return NULL;
}

static void cancel(unsigned threads)
{
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE session = session_open();
  for (unsigned i = 0; i < threads; i++) {
    pthread_t thread;
    void *result;
    thread_start(&thread, sign_for_ever, &session);
    usleep(i % 3 * 1000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    if (result != PTHREAD_CANCELED) DIE("the thread was not cancelled in the call");
    for (int k = 0; k < 20; k++) CALL(C_GetSessionInfo(session, &info));
  }
}

/* --- flush: the only cancellation point is pthread_testcancel, so every call that began must end and be recorded ---
 * */

static atomic_int stop;

static void *poll(void *argument)
{
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE session = *(CK_SESSION_HANDLE *)argument;
  while (!atomic_load(&stop)) {
    for (int i = 0; i < 50; i++) CALL(C_GetSessionInfo(session, &info));
    pthread_testcancel();
  }
  return NULL;
}

static void flush(unsigned long n)
{
  pthread_t steady, brief;
  CK_SESSION_HANDLE session = session_open();
  unsigned cancelled = 0;
  thread_start(&steady, poll, &session);
  while (calls < n) {
    thread_start(&brief, poll, &session);
    usleep(200 + cancelled * 37 % 800);
    pthread_cancel(brief);
    pthread_join(brief, NULL);
    cancelled++;
  }
  atomic_store(&stop, 1);
  pthread_join(steady, NULL);
  printf("cancelled %u\n", cancelled);
}

/* --- churn --- */

static void *three(void *argument)
{
  CK_SESSION_INFO info;
  for (int i = 0; i < 3; i++) CALL(C_GetSessionInfo(*(CK_SESSION_HANDLE *)argument, &info));
  return NULL;
}

static void churn(unsigned threads)
{
  CK_SESSION_HANDLE session = session_open();
  for (unsigned i = 0; i < threads; i++) {
    pthread_t thread;
    thread_start(&thread, three, &session);
    pthread_join(thread, NULL);
  }
}

/* --- poll --- */

static void poll_random(unsigned long n)
{
  CK_SESSION_HANDLE session = session_open();
  CK_ULONG size, object = 88172645463325252ul;
  for (unsigned long i = 0; i < n; i++) {
    object ^= object << 13;
    object ^= object >> 7;
    object ^= object << 17;
    CALL(C_GetObjectSize(session, object, &size));
  }
}

/* --- first: a thread that is to be cancelled makes the first call of a process --- */

static atomic_int returned;

static void *call_first(void *unused)
{
  CK_INFO info;
  pthread_cancel(pthread_self());
  list->C_GetInfo(&info);
  atomic_store(&returned, 1);
  pthread_testcancel();
  return unused;
}

static void first(void)
{
  pid_t child = fork();
  if (child == 0) {
    CK_INFO info;
    pthread_t thread;
    alarm(20);
    thread_start(&thread, call_first, NULL);
    pthread_join(thread, NULL);
    list->C_GetInfo(&info);
    _exit(atomic_load(&returned) ? 0 : 1);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) DIE("the thread ended in its call");
}

int main(int argc, char **argv)
{
  if (argc < 3) DIE("usage: threads order|blocked|cancel|flush|churn|poll|first MODULE ...");
  list = module_list(argv[2]);
  CALL(C_Initialize(NULL));
  if (strcmp(argv[1], "order") == 0 && argc == 6)
    order((unsigned)atoi(argv[3]), strtoul(argv[4], NULL, 10), argv[5]);
  else if (strcmp(argv[1], "blocked") == 0)
    blocked();
  else if (strcmp(argv[1], "cancel") == 0 && argc == 4)
    cancel((unsigned)atoi(argv[3]));
  else if (strcmp(argv[1], "flush") == 0 && argc == 4)
    flush(strtoul(argv[3], NULL, 10));
  else if (strcmp(argv[1], "churn") == 0 && argc == 4)
    churn((unsigned)atoi(argv[3]));
  else if (strcmp(argv[1], "poll") == 0 && argc == 4)
    poll_random(strtoul(argv[3], NULL, 10));
  else if (strcmp(argv[1], "first") == 0)
    first();
  else
    DIE("unknown: %s", argv[1]);
  if (strcmp(argv[1], "blocked") != 0) CALL(C_Finalize(NULL));
  printf("calls %lu\n", (unsigned long)calls);
  return 0;
}
