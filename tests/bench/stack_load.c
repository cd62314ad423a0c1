/* The load of the benchmark of call stacks: C_GetSessionInfo from a stack of known depth, on several threads at once.
 *
 *   stack_load MODULE DEPTH THREADS OPERATIONS [fail]
 *
 * DEPTH frames above the module, counted to the thread's first; with `fail` each call has a wrong session. One line on
 * standard output, nanoseconds per call: median of batches of 16, and the mean of processor time, of all threads. Under
 * callgrind the calls of one thread are dumped. */
#include <pthread.h>
#include <stdint.h>
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#define CALLGRIND_ZERO_STATS (void)0
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

#include "p11client.h"
#include "tests/bench/clocks.h"

enum { BATCH = 16, BASE = 4 /* measure, thread, start_thread, clone3 */, MAX_THREADS = 64 };

static CK_FUNCTION_LIST_PTR p11;
static CK_SESSION_HANDLE session;
static CK_RV expected;
static int depth, batches;
static pthread_barrier_t start;

static struct result {
  double median, mean;
} results[MAX_THREADS];

static __attribute__((noinline)) void call(void)
{
  CK_SESSION_INFO info;
  CK_RV rv = p11->C_GetSessionInfo(session, &info);
  if (expected == CKR_OK ? rv != CKR_OK : rv == CKR_OK) DIE("C_GetSessionInfo: 0x%lx", rv);
}

static void measure(struct result *r);

/* Recursion that the compiler cannot flatten: each level is a frame of its own. */
static __attribute__((noinline)) void descend(int levels, struct result *r)
{
  if (levels > 0)
    descend(levels - 1, r);
  else
    measure(r);
  __asm__ volatile("");
}

static __attribute__((noinline)) void measure(struct result *r)
{
  uint64_t *batch = calloc((size_t)batches, sizeof *batch);
  if (batch == NULL) DIE("out of memory");
  for (int i = 0; i < batches; i++) batch[i] = 1;
  for (int i = 0; i < batches * 2 + 64; i++) call();
  if (RUNNING_ON_VALGRIND) {
    CALLGRIND_ZERO_STATS;
    for (int i = 0; i < batches * BATCH; i++) call();
    CALLGRIND_DUMP_STATS_AT("stack");
    return;
  }
  pthread_barrier_wait(&start);
  uint64_t ns = nanoseconds(CLOCK_MONOTONIC), tsc = ticks(), cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID), last = ticks();
  for (int b = 0; b < batches; b++) {
    for (int i = 0; i < BATCH; i++) call();
    uint64_t now = ticks();
    batch[b] = now - last;
    last = now;
  }
  cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
  double rate = (double)(nanoseconds(CLOCK_MONOTONIC) - ns) / (double)(ticks() - tsc);
  qsort(batch, (size_t)batches, sizeof *batch, by_value);
  r->median = (double)batch[batches / 2] * rate / BATCH;
  r->mean = (double)cpu / (double)(batches * BATCH);
  free(batch);
}

static void *thread(void *r)
{
  descend(depth - BASE - 2, r);
  __asm__ volatile("");
  return NULL;
}

int main(int argc, char **argv)
{
  CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
  CK_SLOT_ID slots[64];
  CK_ULONG n = sizeof slots / sizeof *slots;
  if (argc < 5) DIE("usage: stack_load MODULE DEPTH THREADS OPERATIONS [fail]");
  depth = atoi(argv[2]);
  int threads = atoi(argv[3]);
  batches = atoi(argv[4]) / BATCH;
  if (depth < BASE + 2 || threads < 1 || threads > MAX_THREADS || batches < 1)
    DIE("%s %s %s", argv[2], argv[3], argv[4]);
  p11 = module_list(argv[1]);
  MUST(p11->C_Initialize(&args));
  MUST(p11->C_GetSlotList(1, slots, &n));
  if (n == 0) DIE("%s: no token", argv[1]);
  MUST(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session));
  if (argc > 5) {
    expected = CKR_SESSION_HANDLE_INVALID;
    session += 1000;
  }
  pthread_t t[MAX_THREADS];
  pthread_barrier_init(&start, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) pthread_create(&t[i], NULL, thread, &results[i]);
  double median = 0, mean = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(t[i], NULL);
    median += results[i].median / threads;
    mean += results[i].mean / threads;
  }
  printf("%.1f %.1f\n", median, mean);
  MUST(p11->C_Finalize(NULL));
  return 0;
}
