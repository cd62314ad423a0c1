/* Programs that use the token in one way or another and end.
 *
 *   token_host use MODULE PIN              everything ordinary; prints the environment that the module asks for
 *   token_host exit MODULE PIN HOW         ends without C_Finalize, or with it at an odd time; HOW: see `ways`
 *   token_host reload MODULE PIN N         loads, uses and unloads it N times
 *   token_host orphan MODULE PIN           a thread that has used it ends after it was unloaded
 *   token_host crypto MODULE PIN           beside the system's libcrypto, whose error queue it must leave alone
 *   token_host grow MODULE PIN WHAT N      does WHAT N times; prints after N/2 and after N the bytes in use and the pages
 *                                          that the process has
 *   token_host descriptors MODULE PIN      prints open files before, during and after, one line each; umask 0
 *   token_host state MODULE PIN            signals, locale, folder, umask, environment are as they were
 *   token_host two MODULE COPY PIN N       both at once on one token
 *   token_host hold MODULE WHEN            reads the PIN; prints "ready" when logged in, out or finalised; waits
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "token_use.h"

extern char **environ;

static struct host host;
static const char *pin;

/* --- use ---------------------------------------------------------------------------------------------------- */

static atomic_bool listening;

/* The linker lets the program's own getenv stand for libc's, also for modules that are loaded later. */
static char *look_up(const char *name)
{
  size_t len = strlen(name);
  for (char **e = environ; *e != NULL; e++)
    if (strncmp(*e, name, len) == 0 && (*e)[len] == '=') return *e + len + 1;
  return NULL;
}

char *getenv(const char *name)
{
  if (atomic_load(&listening)) printf("asks %s\n", name);
  return look_up(name);
}

char *secure_getenv(const char *name)
{
  return getenv(name);
}

static void use(void)
{
  CK_OBJECT_HANDLE object;
  CK_BYTE random[16];
  host_begin(&host);
  host_login(&host, pin);
  MUST(host_sign(&host, host.session, host_key(&host, host.session)));
  MUST(host.p11->C_GenerateRandom(host.session, random, sizeof random));
  MUST(host_create(&host, host.session, "session", false, &object));
  MUST(host_create(&host, host.session, "token", true, &object));
  MUST(host.p11->C_DestroyObject(host.session, object));
}

static void plain_use(const char *path)
{
  atomic_store(&listening, true);
  host.p11 = module_list(path);
  use();
  MUST(host.p11->C_Finalize(NULL));
  atomic_store(&listening, false);
}

/* --- exit --------------------------------------------------------------------------------------------------- */

static bool at_destruction;
static const char *destroyed = "";

static void finalize(void)
{
  CK_RV rv = host.p11->C_Finalize(NULL);
  if (rv != CKR_OK) {
    fprintf(stderr, "C_Finalize at the end: 0x%lx\n", rv);
    _exit(4);
  }
}

__attribute__((destructor)) static void destructor(void)
{
  if (at_destruction) finalize();
  (void)destroyed;
}

/* Calls until the module says that it is finalised. */
static void *work_on(void *argument)
{
  CK_SESSION_HANDLE session = 0;
  CK_OBJECT_HANDLE key = *(CK_OBJECT_HANDLE *)argument, object = 0;
  CK_RV rv = host.p11->C_OpenSession(host.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);
  while (rv == CKR_OK) {
    rv = host_sign(&host, session, key);
    if (rv == CKR_OK) rv = host_create(&host, session, "busy", true, &object);
    if (rv == CKR_OK) rv = host.p11->C_DestroyObject(session, object);
  }
  if (rv != CKR_CRYPTOKI_NOT_INITIALIZED) fprintf(stderr, "a busy thread: 0x%lx\n", rv);
  return NULL;
}

static void start_threads(int count)
{
  static CK_OBJECT_HANDLE key;
  pthread_t thread;
  key = host_key(&host, host.session);
  for (int i = 0; i < count; i++)
    if (pthread_create(&thread, NULL, work_on, &key) != 0) DIE("pthread_create");
  /* They are inside when there is something of theirs. */
  while (host_count(&host, host.session, "busy") == 0) continue;
}

enum { THREADS = 1, ATEXIT_BEFORE = 2, ATEXIT_AFTER = 4, DESTRUCTOR = 8, UNLOAD = 16, QUICK = 32, FINALIZED = 64 };

static const struct {
  const char *name;
  int what;
} ways[] = {
    {"plain",            0                      },
    {"threads",          THREADS                },
    {"atexit-before",    ATEXIT_BEFORE          },
    {"atexit-after",     ATEXIT_AFTER           },
    {"atexit-threads",   ATEXIT_AFTER | THREADS },
    {"before-threads",   ATEXIT_BEFORE | THREADS},
    {"destructor",       DESTRUCTOR             },
    {"destructor-busy",  DESTRUCTOR | THREADS   },
    {"unload",           UNLOAD                 },
    {"quick",            QUICK                  },
    {"quick-threads",    QUICK | THREADS        },
    {"finalized",        FINALIZED              },
    {"finalized-unload", FINALIZED | UNLOAD     },
};

static void leave(const char *path, const char *how)
{
  int what = -1;
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
    if (strcmp(ways[i].name, how) == 0) what = ways[i].what;
  if (what < 0) DIE("no way %s", how);
  if (what & ATEXIT_BEFORE) atexit(finalize);
  struct module m = module_open(path);
  MUST(m.get_list(&host.p11));
  use();
  if (what & ATEXIT_AFTER) atexit(finalize);
  if (what & THREADS) start_threads(3);
  at_destruction = (what & DESTRUCTOR) != 0;
  if (what & FINALIZED) MUST(host.p11->C_Finalize(NULL));
  if ((what & UNLOAD) && dlclose(m.handle) != 0) DIE("dlclose: %s", dlerror());
  puts("leaving");
  fflush(stdout);
  if (what & QUICK) quick_exit(0);
  exit(0);
}

/* --- loading and unloading ---------------------------------------------------------------------------------- */

static void reload(const char *path, unsigned long n)
{
  for (unsigned long i = 0; i < n; i++) {
    struct module m = module_open(path);
    MUST(m.get_list(&host.p11));
    use();
    MUST(host.p11->C_Finalize(NULL));
    if (dlclose(m.handle) != 0) DIE("dlclose: %s", dlerror());
  }
}

static pthread_barrier_t used, unloaded;

static void *use_and_stay(void *argument)
{
  (void)argument;
  CK_SESSION_HANDLE session = host_session(&host);
  MUST(host_sign(&host, session, host_key(&host, session)));
  if (host_sign(&host, session, 0) == CKR_OK) DIE("signed with no key");
  pthread_barrier_wait(&used);
  pthread_barrier_wait(&unloaded);
  return NULL; /* the destructors of thread-specific values run now */
}

static void orphan(const char *path)
{
  pthread_t thread;
  struct module m = module_open(path);
  MUST(m.get_list(&host.p11));
  use();
  pthread_barrier_init(&used, NULL, 2);
  pthread_barrier_init(&unloaded, NULL, 2);
  if (pthread_create(&thread, NULL, use_and_stay, NULL) != 0) DIE("pthread_create");
  pthread_barrier_wait(&used);
  MUST(host.p11->C_Finalize(NULL));
  if (dlclose(m.handle) != 0) DIE("dlclose: %s", dlerror());
  pthread_barrier_wait(&unloaded);
  pthread_join(thread, NULL);
}

/* --- another libcrypto ---------------------------------------------------------------------------------------- */

static void *symbol(void *library, const char *name)
{
  void *at = dlsym(library, name);
  if (at == NULL) DIE("libcrypto has no %s", name);
  return at;
}

/* Calls that fail in the module's cryptography. */
static void fail_in_many_ways(void)
{
  CK_MECHANISM ecdsa = {CKM_ECDSA_SHA256, NULL, 0}, gcm = {CKM_AES_CBC_PAD, "0123456789abcdef", 16};
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY, private = CKO_PRIVATE_KEY, public = CKO_PUBLIC_KEY;
  CK_KEY_TYPE aes = CKK_AES, ec = CKK_EC, rsa = CKK_RSA;
  CK_BBOOL yes = CK_TRUE;
  CK_BYTE nonsense[48] = {1, 2, 3}, p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_BYTE signature[64] = {1};
  CK_OBJECT_HANDLE key, other;
  CK_ULONG len = sizeof nonsense;
  CK_ATTRIBUTE aes_key[] = {
      {CKA_CLASS,    &secret,  sizeof secret},
      {CKA_KEY_TYPE, &aes,     sizeof aes   },
      {CKA_VALUE,    nonsense, 32           },
      {CKA_UNWRAP,   &yes,     1            }
  };
  CK_ATTRIBUTE unwrapped[] = {
      {CKA_CLASS,    &private, sizeof private},
      {CKA_KEY_TYPE, &rsa,     sizeof rsa    }
  };
  CK_ATTRIBUTE bad_point[] = {
      {CKA_CLASS,     &public,  sizeof public},
      {CKA_KEY_TYPE,  &ec,      sizeof ec    },
      {CKA_EC_PARAMS, p256,     sizeof p256  },
      {CKA_EC_POINT,  nonsense, 65 - 17      }
  };
  CK_ATTRIBUTE curve[] = {
      {CKA_EC_PARAMS, p256, sizeof p256}
  };
  CK_MECHANISM generate = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
  MUST(host.p11->C_CreateObject(host.session, aes_key, 4, &key));
  MUST(host.p11->C_DecryptInit(host.session, &gcm, key));
  if (host.p11->C_Decrypt(host.session, nonsense, 48, nonsense, &len) == CKR_OK) DIE("nonsense was decrypted");
  if (host.p11->C_UnwrapKey(host.session, &gcm, key, nonsense, 48, unwrapped, 2, &other) == CKR_OK) DIE("unwrapped");
  if (host.p11->C_CreateObject(host.session, bad_point, 4, &other) == CKR_OK) DIE("a point that is none");
  MUST(host.p11->C_GenerateKeyPair(host.session, &generate, curve, 1, NULL, 0, &key, &other));
  MUST(host.p11->C_VerifyInit(host.session, &ecdsa, key));
  if (host.p11->C_Verify(host.session, nonsense, 48, signature, 64) != CKR_SIGNATURE_INVALID) DIE("verified");
  signature[0] = 0;
  MUST(host.p11->C_VerifyInit(host.session, &ecdsa, key));
  if (host.p11->C_Verify(host.session, nonsense, 48, signature, 64) != CKR_SIGNATURE_INVALID) DIE("verified");
  MUST(host.p11->C_Logout(host.session));
  if (host.p11->C_Login(host.session, CKU_USER, nonsense, 5) != CKR_PIN_INCORRECT) DIE("another PIN");
  host_login(&host, pin);
}

static void beside_libcrypto(const char *path)
{
  void *library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) DIE("%s", dlerror());
  unsigned long (*peek)(void), (*get)(void);
  void (*cleanup)(void), (*new_error)(void), (*set_error)(int, int, const char *, ...);
  int (*digest)(const void *, size_t, unsigned char *, unsigned *, const void *, void *);
  const void *(*sha256)(void);
  *(void **)&peek = symbol(library, "ERR_peek_error");
  *(void **)&get = symbol(library, "ERR_get_error");
  *(void **)&new_error = symbol(library, "ERR_new");
  *(void **)&set_error = symbol(library, "ERR_set_error");
  *(void **)&cleanup = symbol(library, "OPENSSL_cleanup");
  *(void **)&digest = symbol(library, "EVP_Digest");
  *(void **)&sha256 = symbol(library, "EVP_sha256");
  unsigned char before[32], after[32];
  if (digest("text", 4, before, NULL, sha256(), NULL) != 1) DIE("EVP_Digest");
  host.p11 = module_list(path);
  use();
  fail_in_many_ways();
  if (peek() != 0) DIE("an error of ours is in the host's queue: %lx", peek());
  new_error();
  set_error(128, 42, NULL); /* ERR_LIB_USER */
  unsigned long mine = peek();
  fail_in_many_ways();
  if (get() != mine || get() != 0) DIE("the host's error has gone, or has company");
  if (digest("text", 4, after, NULL, sha256(), NULL) != 1 || memcmp(before, after, 32) != 0) DIE("EVP_Digest, after");
  cleanup();
  MUST(host_sign(&host, host.session, host_key(&host, host.session)));
  MUST(host.p11->C_Finalize(NULL));
  puts("ERR queue untouched");
}

/* --- does it grow? -------------------------------------------------------------------------------------------- */

static void once(const char *what, CK_OBJECT_HANDLE key)
{
  CK_OBJECT_HANDLE object;
  if (strcmp(what, "initialize") == 0) {
    MUST(host.p11->C_Finalize(NULL));
    host_begin(&host);
  } else if (strcmp(what, "sessions") == 0) {
    MUST(host.p11->C_CloseSession(host_session(&host)));
  } else if (strcmp(what, "session-objects") == 0 || strcmp(what, "token-objects") == 0) {
    MUST(host_create(&host, host.session, "grow", what[0] == 't', &object));
    MUST(host.p11->C_DestroyObject(host.session, object));
  } else if (strcmp(what, "signatures") == 0) {
    MUST(host_sign(&host, host.session, key));
  } else if (strcmp(what, "logins") == 0) {
    MUST(host.p11->C_Logout(host.session));
    host_login(&host, pin);
  } else if (strcmp(what, "failures") == 0) {
    fail_in_many_ways();
    MUST(host.p11->C_CloseSession(host.session)); /* with the objects that this made */
    host.session = host_session(&host);
    host_login(&host, pin);
  } else {
    DIE("grow %s?", what);
  }
}

static void print_use(void)
{
  struct mallinfo2 m = mallinfo2();
  unsigned long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  if (f == NULL || fscanf(f, "%lu", &pages) != 1) DIE("statm");
  fclose(f);
  printf("%zu %lu\n", m.uordblks + m.hblkhd, pages);
}

static void grow(const char *path, const char *what, unsigned long n)
{
  host.p11 = module_list(path);
  use();
  CK_OBJECT_HANDLE key = host_key(&host, host.session);
  setvbuf(stdout, NULL, _IONBF, 0);
  for (unsigned long i = 0; i < n; i++) {
    if (i == n / 2) print_use();
    once(what, key);
  }
  print_use();
  MUST(host.p11->C_Finalize(NULL));
}

/* --- what the host had before --------------------------------------------------------------------------------- */

static void print_descriptors(void)
{
  char name[32], target[512];
  for (int fd = 0; fd < 256; fd++) {
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, target, sizeof target - 1);
    if (n < 0) continue;
    target[n] = '\0';
    int flags = fcntl(fd, F_GETFD);
    printf("%d:%s:%s ", fd, target, flags & FD_CLOEXEC ? "cloexec" : "inherited");
  }
  putchar('\n');
}

static void descriptors(const char *path)
{
  umask(0);
  host.p11 = module_list(path);
  print_descriptors();
  use();
  print_descriptors();
  MUST(host.p11->C_Finalize(NULL));
  print_descriptors();
}

struct state {
  void (*handler[64])(int);
  int flags[64];
  bool blocked[64][64]; /* while the handler of the first runs; [0]: now */
  char locale[256], folder[512];
  mode_t umask;
  size_t environment;
};

static size_t sum_of_environment(void)
{
  size_t sum = 0;
  for (char **e = environ; *e != NULL; e++)
    for (const char *c = *e; *c != '\0'; c++) sum = sum * 31 + (unsigned char)*c;
  return sum;
}

static void look(struct state *s)
{
  memset(s, 0, sizeof *s);
  for (int i = 0; i < 64; i++) {
    struct sigaction action;
    sigemptyset(&action.sa_mask);
    if (i == 0)
      pthread_sigmask(SIG_SETMASK, NULL, &action.sa_mask);
    else if (sigaction(i, NULL, &action) != 0)
      continue;
    for (int j = 1; j < 64; j++) s->blocked[i][j] = sigismember(&action.sa_mask, j) == 1;
    s->handler[i] = i > 0 ? action.sa_handler : NULL;
    s->flags[i] = i > 0 ? action.sa_flags : 0;
  }
  snprintf(s->locale, sizeof s->locale, "%s", setlocale(LC_ALL, NULL));
  if (getcwd(s->folder, sizeof s->folder) == NULL) DIE("getcwd");
  s->umask = umask(0);
  umask(s->umask);
  s->environment = sum_of_environment();
}

static void handler(int number)
{
  (void)number;
}

static void keeps_state(const char *path)
{
  struct state before, after;
  sigset_t some;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &some, NULL);
  signal(SIGPIPE, handler);
  signal(SIGCHLD, handler);
  if (setlocale(LC_ALL, "C.UTF-8") == NULL) DIE("no locale C.UTF-8");
  umask(027);
  look(&before);
  host.p11 = module_list(path);
  use();
  look(&after);
  if (memcmp(&before, &after, sizeof before) != 0) DIE("changed during use");
  MUST(host.p11->C_Finalize(NULL));
  look(&after);
  if (memcmp(&before, &after, sizeof before) != 0) DIE("changed by C_Finalize");
  puts("state untouched");
}

/* --- two copies of it ----------------------------------------------------------------------------------------- */

static unsigned long rounds;

static void *write_on(void *argument)
{
  const struct host *h = argument;
  CK_OBJECT_HANDLE object;
  CK_SESSION_HANDLE session = host_session(h);
  for (unsigned long i = 0; i < rounds; i++) {
    MUST(host_create(h, session, "kept", true, &object));
    MUST(host_sign(h, session, host_key(h, session)));
    MUST(host_create(h, session, "gone", true, &object));
    MUST(h->p11->C_DestroyObject(session, object));
  }
  MUST(h->p11->C_CloseSession(session));
  return NULL;
}

static void two(const char *path, const char *copy, unsigned long n)
{
  struct host h[2] = {
      {module_list(path), 0, 0},
      {module_list(copy), 0, 0}
  };
  pthread_t thread[2];
  rounds = n;
  if (h[0].p11 == h[1].p11) DIE("two files, one module");
  for (int i = 0; i < 2; i++) {
    host_begin(&h[i]);
    host_login(&h[i], pin);
  }
  host_key(&h[0], h[0].session);
  for (int i = 0; i < 2; i++)
    if (pthread_create(&thread[i], NULL, write_on, &h[i]) != 0) DIE("pthread_create");
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  for (int i = 0; i < 2; i++) printf("kept %lu ", host_count(&h[i], h[i].session, "kept"));
  MUST(h[0].p11->C_Finalize(NULL));
  write_on(&h[1]);
  printf("kept %lu gone %lu\n", host_count(&h[1], h[1].session, "kept"), host_count(&h[1], h[1].session, "gone"));
  MUST(h[1].p11->C_Finalize(NULL));
}

/* --- for a look at the memory --------------------------------------------------------------------------------- */

static void read_all_keys(void)
{
  CK_OBJECT_HANDLE found[256];
  CK_ULONG count = 0;
  CK_BYTE label[64];
  MUST(host.p11->C_FindObjectsInit(host.session, NULL, 0));
  MUST(host.p11->C_FindObjects(host.session, found, 256, &count));
  MUST(host.p11->C_FindObjectsFinal(host.session));
  for (CK_ULONG i = 0; i < count; i++) {
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    CK_ATTRIBUTE a = {CKA_LABEL, label, sizeof label};
    CK_BYTE block[16] = {0};
    CK_ULONG len = sizeof block;
    MUST(host.p11->C_GetAttributeValue(host.session, found[i], &a, 1));
    if (host.p11->C_EncryptInit(host.session, &ecb, found[i]) == CKR_OK)
      MUST(host.p11->C_Encrypt(host.session, block, len, block, &len));
    (void)host_sign(&host, host.session, found[i]);
  }
  printf("%lu objects\n", count);
}

static void hold(const char *path, const char *when)
{
  char typed[64];
  ssize_t n = read(0, typed, sizeof typed - 1);
  if (n <= 1) DIE("no PIN");
  typed[n - 1] = '\0';
  host.p11 = module_list(path);
  host_begin(&host);
  host_login(&host, typed);
  explicit_bzero(typed, sizeof typed);
  read_all_keys();
  if (strcmp(when, "logged-out") == 0) MUST(host.p11->C_Logout(host.session));
  if (strcmp(when, "finalized") == 0) MUST(host.p11->C_Finalize(NULL));
  puts("ready");
  fflush(stdout);
  if (read(0, typed, 1) < 0) DIE("read");
}

int main(int argc, char **argv)
{
  if (argc < 4) DIE("see the top of token_host.c");
  const char *verb = argv[1], *path = argv[2];
  const char *more = argc > 4 ? argv[4] : "";
  pin = argv[3];
  if (strcmp(verb, "use") == 0)
    plain_use(path);
  else if (strcmp(verb, "exit") == 0)
    leave(path, more);
  else if (strcmp(verb, "reload") == 0)
    reload(path, strtoul(more, NULL, 10));
  else if (strcmp(verb, "orphan") == 0)
    orphan(path);
  else if (strcmp(verb, "crypto") == 0)
    beside_libcrypto(path);
  else if (strcmp(verb, "grow") == 0 && argc == 6)
    grow(path, more, strtoul(argv[5], NULL, 10));
  else if (strcmp(verb, "descriptors") == 0)
    descriptors(path);
  else if (strcmp(verb, "state") == 0)
    keeps_state(path);
  else if (strcmp(verb, "two") == 0 && argc == 6)
    pin = argv[4], two(path, argv[3], strtoul(argv[5], NULL, 10));
  else if (strcmp(verb, "hold") == 0)
    hold(path, argv[3]);
  else
    DIE("see the top of token_host.c");
  return 0;
}
