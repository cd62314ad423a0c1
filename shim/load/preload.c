/* The recorder as a preloaded library: start-up, the lookups that are ours, and how the process ends. */
#include "shim/load/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/load/target.h"
#include "shim/record/options.h"
#include "shim/record/process.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void *dlsym(void *restrict handle, const char *restrict name);

p11t_dlsym_function p11t_next_dlsym;
bool p11t_preloaded;

static int (*next_dlclose)(void *);
static void (*next_exit)(int) __attribute__((noreturn));
static void (*next_Exit)(int) __attribute__((noreturn));

/* Set while this thread is in a lookup of ours: another library's dlsym may come back to us. */
static __thread char looking __attribute__((tls_model("initial-exec")));

static void *no_dlsym(void *handle, const char *name)
{
  (void)handle;
  (void)name;
  return NULL;
}

/* libc's dlsym by its version; then that one is asked for the next after us, which may be another preloaded library's (one
 * without a version, which the first question passes over). In a sanitized build the runtime comes here before it works. */
__attribute__((no_sanitize("address", "undefined", "thread"))) void p11t_preload_resolve(void)
{
  static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
  p11t_dlsym_function next = NULL;
  for (size_t i = 0; i < sizeof versions / sizeof *versions && next == NULL; i++)
    next = (p11t_dlsym_function)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
  if (next != NULL) {
    p11t_dlsym_function other = (p11t_dlsym_function)next(RTLD_NEXT, "dlsym");
    if (other != NULL && other != (p11t_dlsym_function)dlsym) next = other;
  }
  p11t_next_dlsym = next != NULL ? next : no_dlsym;
}

static void note_status(int status, void *unused)
{
  (void)unused;
  p11t_ends_with(status);
}

/* Registered at the first module: our constructor is too early, handlers of then run after the libraries' destructors. */
static void watch_exit(void)
{
  static atomic_flag done = ATOMIC_FLAG_INIT;
  if (!atomic_flag_test_and_set(&done)) on_exit(note_status, NULL);
}

static void start(void)
{
  int saved = errno;
  p11t_process_load(0);
  /* RTLD_DEFAULT would look into our own scope as well. */
  void *program = dlopen(NULL, RTLD_LAZY | RTLD_NOLOAD);
  p11t_preloaded = program != NULL && p11t_dlsym(program, "p11trace_version") == (const void *)p11trace_version;
  if (p11t_preloaded) {
    p11t_options_once(NULL);
    next_dlclose = (int (*)(void *))p11t_dlsym(RTLD_NEXT, "dlclose");
    *(void **)&next_exit = p11t_dlsym(RTLD_NEXT, "_exit");
    *(void **)&next_Exit = p11t_dlsym(RTLD_NEXT, "_Exit");
    /* Files that nobody removes when they stay empty are made for `p11trace run` only. */
    if (!p11t_options.off && secure_getenv("P11TRACE_RUN") != NULL) pthread_atfork(NULL, NULL, p11t_reserve);
  }
  dlerror();
  errno = saved;
}

static void start_once(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start);
}

__attribute__((constructor)) static void load(void)
{
  start_once();
}

/* --- lookups --------------------------------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
  while (*a != '\0' && *a == *b) a++, b++;
  return *a == *b;
}

static bool is_entry(const char *name, unsigned *prefix, unsigned *entry)
{
  for (*prefix = 0; *prefix < P11T_PREFIXES; (*prefix)++) {
    for (*entry = 0; *entry < P11T_ENTRIES; (*entry)++) {
      if (same(name, p11t_entry_names[*prefix][*entry])) return true;
    }
  }
  return false;
}

static struct link_map *map_of(const void *address)
{
  Dl_info info;
  struct link_map *map = NULL;
  return dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 ? map : NULL;
}

static bool is_own(const void *address)
{
  static const struct link_map *own;
  if (own == NULL) own = map_of(p11trace_version);
  return address != NULL && map_of(address) == own;
}

/* What the symbol is for an object if we are not counted: the global scope after us, then the scope of the object. */
static void *without_us(const char *name, const void *caller)
{
  void *real = p11t_dlsym(RTLD_NEXT, name);
  const struct link_map *map = real == NULL ? map_of(caller) : NULL;
  if (map == NULL || is_own(caller)) return real;
  void *handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
  if (handle != NULL) {
    real = p11t_dlsym(handle, name);
    dlclose(handle);
  }
  /* Once more for the error that a lookup in vain leaves. */
  return real == NULL || is_own(real) ? p11t_dlsym(RTLD_NEXT, name) : real;
}

/* Objects before us in the global scope would find our export next. */
static bool is_before_us(const void *caller)
{
  const struct link_map *map = map_of(caller), *before = map_of(p11trace_version);
  while (before != NULL && before != map) before = before->l_prev;
  return map != NULL && before == map && !is_own(caller);
}

struct p11t_lookup p11t_preload_lookup(void *handle, const char *name, void *caller)
{
  const struct p11t_lookup leave = {NULL, 0};
  unsigned prefix, entry;
  if (looking || !is_entry(name, &prefix, &entry)) return leave;
  if (handle == RTLD_NEXT && (prefix != P11T_PREFIX_C || !is_before_us(caller))) return leave;
  looking = 1;
  start_once();
  void *real = NULL;
  if (p11t_preloaded) {
    int saved = errno;
    real = p11t_dlsym(handle, name);
    /* Through a handle of the recorder itself its own entry points are meant. */
    bool ours = is_own(real), meant = ours && handle != NULL && map_of(p11trace_version) == handle;
    if (ours && !meant) real = without_us(name, caller);
    /* In the caller's own scope only libc can look: it needs the caller's address. */
    if (real == NULL && handle == RTLD_DEFAULT && !ours) {
      looking = 0;
      return leave;
    }
    if (real != NULL) {
      if (!meant && !p11t_options.off) {
        watch_exit();
        real = (void *)(uintptr_t)p11t_preload_wrapper((p11t_any_function)real, prefix, entry);
      }
      dlerror(); /* a lookup that was answered leaves no error */
      errno = saved;
    }
  }
  looking = 0;
  return p11t_preloaded ? (struct p11t_lookup){real, 1} : leave;
}

struct wanted {
  const char *name;
  p11t_any_function last;
};

static int last_that_has(struct dl_phdr_info *info, size_t size, void *to)
{
  (void)size;
  struct wanted *w = to;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    const void *dynamic = (const void *)(uintptr_t)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    p11t_any_function f = p11t_symbol_in(info->dlpi_addr, dynamic, w->name);
    if (f != NULL && p11t_symbol_in(info->dlpi_addr, dynamic, "p11trace_version") == NULL) w->last = f;
  }
  return 0;
}

p11t_any_function p11t_preload_meant(unsigned entry, void *caller)
{
  const char *name = p11t_entry_names[P11T_PREFIX_C][entry];
  if (!p11t_preloaded) return NULL;
  p11t_any_function real = (p11t_any_function)without_us(name, caller);
  if (real == NULL) {
    /* A module's own list names our export where nobody traces it: the caller says nothing of which module that was. */
    struct wanted w = {name, NULL};
    dl_iterate_phdr(last_that_has, &w);
    real = w.last;
  }
  if (real == NULL || p11t_options.off || map_of((const void *)(uintptr_t)real) == map_of(caller)) return real;
  watch_exit();
  return p11t_preload_wrapper(real, P11T_PREFIX_C, entry);
}

/* --- what else is interposed ------------------------------------------------------------------------------------------ */

/* A module is gone when its last handle is closed: what comes to its address later is another. */
EXPORT int dlclose(void *handle)
{
  if (next_dlclose == NULL) {
    *(void **)&next_dlclose = p11t_dlsym(RTLD_NEXT, "dlclose");
    if (next_dlclose == NULL) return -1;
  }
  int result = next_dlclose(handle);
  int saved = errno;
  if (p11t_preloaded) p11t_preload_sweep();
  errno = saved;
  return result;
}

EXPORT void _exit(int status)
{
  p11t_ends_with(status);
  if (next_exit != NULL) next_exit(status);
  for (;;) syscall(SYS_exit_group, status);
}

EXPORT void _Exit(int status)
{
  p11t_ends_with(status);
  if (next_Exit != NULL) next_Exit(status);
  for (;;) syscall(SYS_exit_group, status);
}
