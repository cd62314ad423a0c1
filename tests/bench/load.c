/* The load of the benchmarks: one session on one token, one kind of operation after the other.
 *
 *   load [--plain] [--cpu N] MODULE PIN WORKLOAD:OPERATIONS ...
 *   load --initialize [--cpu N] MODULE PIN          (only C_Initialize and C_Finalize)
 *
 * For each workload one line on standard output, times in nanoseconds per operation:
 *
 *   name operations calls-per-operation median mean batch-median worst
 *
 * median and worst are of operations timed one by one, clock included (about 10 to 30 ns, the same for every module);
 * mean and batch-median come from a second pass that reads the clock once per 16 operations. The mean is of processor
 * time, kernel included: other processes on a busy machine would otherwise be most of it. --plain makes one pass without
 * clocks and prints nothing. Under callgrind the second pass of each workload is dumped under its name. */
#include <sched.h>
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#define CALLGRIND_ZERO_STATS (void)0
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

#include "p11client.h"
#include "tests/bench/clocks.h"

enum { BATCH = 16 };

static CK_FUNCTION_LIST_PTR p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE rsa_key, ec_key;

/* --- operations ------------------------------------------------------------------------------ */

static void op_session(void)
{
  CK_SESSION_INFO info;
  MUST(p11->C_GetSessionInfo(session, &info));
}

static void op_slot(void)
{
  CK_SLOT_INFO info;
  MUST(p11->C_GetSlotInfo(slot, &info));
}

static CK_OBJECT_HANDLE find(CK_OBJECT_CLASS class, CK_BYTE id)
{
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
  CK_ULONG n = 0;
  CK_ATTRIBUTE template[] = {
      {CKA_CLASS, &class, sizeof class},
      {CKA_ID,    &id,    sizeof id   }
  };
  MUST(p11->C_FindObjectsInit(session, template, 2));
  MUST(p11->C_FindObjects(session, &object, 1, &n));
  MUST(p11->C_FindObjectsFinal(session));
  if (n != 1) DIE("no object of class %lu with id %02x", class, id);
  return object;
}

static void op_find(void)
{
  find(CKO_PRIVATE_KEY, 1);
}

static void op_attr(void)
{
  CK_OBJECT_CLASS class;
  CK_KEY_TYPE type;
  CK_BYTE id[16], label[64];
  CK_ATTRIBUTE template[] = {
      {CKA_CLASS,    &class, sizeof class},
      {CKA_KEY_TYPE, &type,  sizeof type },
      {CKA_ID,       id,     sizeof id   },
      {CKA_LABEL,    label,  sizeof label}
  };
  MUST(p11->C_GetAttributeValue(session, rsa_key, template, 4));
}

static void sign(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key)
{
  static CK_BYTE digest[32] = "thirty-two bytes of a digest ...";
  CK_BYTE signature[512];
  CK_ULONG length = sizeof signature;
  CK_MECHANISM mechanism = {type, NULL, 0};
  MUST(p11->C_SignInit(session, &mechanism, key));
  MUST(p11->C_Sign(session, digest, sizeof digest, signature, &length));
}

static void op_rsa(void)
{
  sign(CKM_RSA_PKCS, rsa_key);
}

static void op_ecdsa(void)
{
  sign(CKM_ECDSA, ec_key);
}

/* What an idle client does. */
static void op_poll(void)
{
  op_session();
  op_slot();
}

static void op_mix(void)
{
  op_session();
  op_slot();
  op_find();
  op_attr();
  op_rsa();
}

static const struct workload {
  const char *name;
  void (*op)(void);
  unsigned calls;
} workloads[] = {
    {"session", op_session, 1},
    {"slot",    op_slot,    1},
    {"find",    op_find,    3},
    {"attr",    op_attr,    1},
    {"rsa",     op_rsa,     2},
    {"ecdsa",   op_ecdsa,   2},
    {"poll",    op_poll,    2},
    {"mix",     op_mix,     8},
};

/* --- passes ---------------------------------------------------------------------------------- */

static void measure(const struct workload *w, size_t n)
{
  size_t batches = (n + BATCH - 1) / BATCH;
  uint64_t *one = calloc(n, sizeof *one), *many = calloc(batches, sizeof *many);
  if (one == NULL || many == NULL) DIE("out of memory");
  for (size_t i = 0; i < n; i++) one[i] = many[i / BATCH] = 1; /* no page faults while measuring */
  for (size_t i = 0; i < n / 10 + 1; i++) w->op();

  uint64_t ns = nanoseconds(CLOCK_MONOTONIC), tsc = ticks();
  for (size_t i = 0; i < n; i++) {
    uint64_t begin = ticks();
    w->op();
    one[i] = ticks() - begin;
  }
  uint64_t cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID), last = ticks();
  for (size_t b = 0; b < batches; b++) {
    for (size_t i = 0; i < BATCH; i++) w->op();
    uint64_t now = ticks();
    many[b] = now - last;
    last = now;
  }
  cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
  double rate = (double)(nanoseconds(CLOCK_MONOTONIC) - ns) / (double)(ticks() - tsc); /* ns per tick */

  qsort(one, n, sizeof *one, by_value);
  qsort(many, batches, sizeof *many, by_value);
  printf("%s %zu %u %.1f %.1f %.1f %.0f\n", w->name, n, w->calls, (double)one[n / 2] * rate,
         (double)cpu / (double)(batches * BATCH), (double)many[batches / 2] * rate / BATCH, (double)one[n - 1] * rate);
  free(one);
  free(many);
}

static void count_instructions(const struct workload *w, size_t n)
{
  for (size_t i = 0; i < 64; i++) w->op();
  CALLGRIND_ZERO_STATS;
  for (size_t i = 0; i < n; i++) w->op();
  CALLGRIND_DUMP_STATS_AT(w->name);
  printf("%s %zu %u\n", w->name, n, w->calls);
}

/* "name:operations" */
static const struct workload *parse(const char *arg, size_t *n)
{
  const char *colon = strchr(arg, ':');
  *n = colon == NULL ? 0 : strtoul(colon + 1, NULL, 10);
  for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
    const struct workload *w = &workloads[i];
    if (*n > 0 && strlen(w->name) == (size_t)(colon - arg) && strncmp(w->name, arg, (size_t)(colon - arg)) == 0) {
      return w;
    }
  }
  DIE("%s: not WORKLOAD:OPERATIONS", arg);
}

static void open_token(const char *module, const char *pin)
{
  CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
  CK_SLOT_ID slots[64];
  CK_ULONG n = sizeof slots / sizeof *slots;
  p11 = module_list(module);
  MUST(p11->C_Initialize(&args));
  MUST(p11->C_GetSlotList(1, slots, &n));
  for (CK_ULONG i = 0; i < n; i++) {
    CK_TOKEN_INFO info;
    slot = slots[i];
    MUST(p11->C_GetTokenInfo(slot, &info));
    if (info.flags & CKF_TOKEN_INITIALIZED) break;
    if (i + 1 == n) DIE("%s: no initialised token", module);
  }
  if (n == 0) DIE("%s: no token", module);
  MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
  MUST(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)pin, strlen(pin)));
  rsa_key = find(CKO_PRIVATE_KEY, 1);
  ec_key = find(CKO_PRIVATE_KEY, 2);
}

int main(int argc, char **argv)
{
  int plain = 0, initialize = 0, at = 1;
  for (; at < argc && argv[at][0] == '-'; at++) {
    if (strcmp(argv[at], "--plain") == 0) {
      plain = 1;
    } else if (strcmp(argv[at], "--initialize") == 0) {
      initialize = 1;
    } else if (strcmp(argv[at], "--cpu") == 0 && at + 1 < argc) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(strtoul(argv[++at], NULL, 10), &set);
      if (sched_setaffinity(0, sizeof set, &set) != 0) DIE("--cpu %s: not here", argv[at]);
    } else {
      DIE("%s: unknown option", argv[at]);
    }
  }
  if (argc - at < (initialize ? 1 : 3)) DIE("usage: load [--plain] [--cpu N] MODULE PIN WORKLOAD:OPERATIONS ...");
  if (initialize) {
    p11 = module_list(argv[at]);
    MUST(p11->C_Initialize(NULL));
    MUST(p11->C_Finalize(NULL));
    return 0;
  }
  open_token(argv[at], argv[at + 1]);
  for (at += 2; at < argc; at++) {
    size_t n;
    const struct workload *w = parse(argv[at], &n);
    if (plain) {
      for (size_t i = 0; i < n; i++) w->op();
    } else if (RUNNING_ON_VALGRIND) {
      count_instructions(w, n);
    } else {
      measure(w, n);
    }
  }
  MUST(p11->C_Logout(session));
  MUST(p11->C_CloseSession(session));
  MUST(p11->C_Finalize(NULL));
  return 0;
}
