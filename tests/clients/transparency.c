/* transparency [-a] [-b] [-n N] [-p PIN] [-r] MODULE [FUNCTION]
 *
 * Calls every function of a module with every argument wrong in every way that a caller may get it wrong, one case per
 * process, and prints what came of it: return code, errno and a checksum of all memory that belongs to the arguments,
 * or the signal. Two runs, one on the module and one on its traced form, must print the same lines.
 *
 *   -p PIN  logs in first   -r  leaves out what is random or the time of day in a real token
 *   -a      all cases in one process, for a module that survives them: one trace with everything in it
 *   -b      nothing wrong with the arguments   -n N    every Nth case only
 *
 * Each argument lies at the end of memory of its own, at an address that is the same in all runs, with an unmapped page
 * behind it: one byte read too far is a signal. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "p11client.h"
#include "shim/spec/functions.c"
#include "shim/spec/structures.c"

#include "transparency_args.h"

enum what {
  BASE,
  NULLED,
  ALL_NULL,
  SET,
  VALUE,
  CAPACITY,
  ATTRIBUTE_LENGTH,
  ATTRIBUTE_NULL,
  PARAMETER_LENGTH,
  PARAMETER_NULL,
  IN_PLACE,
  OVERLAP
};
enum state { VALID, BAD_SESSION, NOT_INITIALIZED };

struct variation {
  enum what what;
  int param;
  uint64_t value;
};

static const struct {
  const char *name;
  uint64_t value;
} lengths[] = {
    {"0",           0                         },
    {"1",           1                         },
    {"huge",        1ull << 40                },
    {"unavailable", CK_UNAVAILABLE_INFORMATION}
};

/* --- one case, in the child ------------------------------------------------------------------------------------- */

static CK_RV invoke(CK_FUNCTION_LIST_3_2_PTR list, int fn, const uintptr_t *p)
{
  switch (fn) {
#define TAKE(ctx, ctype, pname, kind) ctype pname = (ctype)*p++;
#define PASS(ctx, ctype, pname, kind) pname
#define F(name, since, group, class, ...)              \
  case P11_F_##name: {                                 \
    P11_EACH(TAKE, 0, __VA_ARGS__)                     \
    return list->name(P11_LIST(PASS, 0, __VA_ARGS__)); \
  }
#include "functions.def"
    default: abort();
  }
}

static void apply(int fn, const struct variation *v, uintptr_t *a)
{
  const struct p11_function_info *f = &p11_functions[fn];
  const struct p11_param *p = &f->param[v->param];
  CK_ATTRIBUTE_PTR attribute = (CK_ATTRIBUTE_PTR)a[v->param];
  CK_MECHANISM_PTR mechanism = (CK_MECHANISM_PTR)a[v->param];
  switch (v->what) {
    case BASE: break;
    case NULLED: a[v->param] = 0; break;
    case ALL_NULL:
      for (int i = 0; i < f->arity; i++) {
        if (arg_is_pointer(f->param[i].kind)) a[i] = 0;
      }
      break;
    case SET: a[v->param] = arg_is_callback(p->type) ? (uintptr_t)arg_callback : arg_place(v->param, 64); break;
    case VALUE: a[v->param] = v->value; break;
    case CAPACITY: *(CK_ULONG_PTR)a[v->param] = v->value; break;
    case ATTRIBUTE_LENGTH: attribute[0].ulValueLen = v->value; break;
    case ATTRIBUTE_NULL: attribute[0].pValue = NULL; break;
    case PARAMETER_LENGTH: mechanism->ulParameterLen = v->value; break;
    case PARAMETER_NULL: mechanism->pParameter = NULL; break;
    case IN_PLACE:
    case OVERLAP: {
      int in = arg_in_place(f);
      uintptr_t to = a[v->param] + (v->what == OVERLAP ? 8 : 0);
      memmove((void *)to, (void *)a[in], a[f->param[in].link - 1]);
      a[in] = to;
      break;
    }
  }
}

static void one_case(struct module module, int fn, enum state state, const struct variation *v)
{
  const struct p11_function_info *f = &p11_functions[fn];
  struct world world = {module_newest(module), 0xdead, 1, 0, 0, 0, 0};
  uintptr_t a[10];
  CK_VOID_PTR const *slot =
      (CK_VOID_PTR const *)(void *)((char *)world.list + offsetof(CK_FUNCTION_LIST, C_Initialize));
  if (slot[fn] == NULL) {
    puts("null");
    return;
  }
  if (state != NOT_INITIALIZED) world_begin(&world);
  if (state != NOT_INITIALIZED) world_prepare(&world, fn);
  if (state == BAD_SESSION) world.session = 0xdead;
  args_make(&world, fn, a);
  apply(fn, v, a);
  alarm(20);
  errno = 77;
  CK_RV rv = invoke(world.list, fn, a);
  int after = errno;
  args_forget(fn, rv, a);
  printf("rv=0x%lx errno=%d", rv, after);
  for (int i = 0; i < f->arity; i++) {
    if (arg_is_pointer(f->param[i].kind)) printf(" %s=%016lx", f->param[i].name, arg_checksum(i));
  }
  putchar('\n');
}

static bool one_process, only_good;
static unsigned long step = 1, cases;

/* --- all cases, in the parent ----------------------------------------------------------------------------------- */

static void run_case(struct module module, int fn, enum state state, const struct variation *v, const char *text)
{
  static const char *const states[] = {"valid", "bad-session", "not-initialized"};
  int status;
  if (cases++ % step != 0) return;
  printf("%s %s %s ", p11_functions[fn].name, states[state], text);
  fflush(stdout);
  if (one_process) {
    one_case(module, fn, state, v);
    module_newest(module)->C_Finalize(NULL);
    return;
  }
  pid_t child = fork();
  if (child < 0) DIE("fork");
  if (child == 0) {
    one_case(module, fn, state, v);
    exit(0);
  }
  if (waitpid(child, &status, 0) != child) DIE("waitpid");
  if (WIFSIGNALED(status))
    printf("signal=%d\n", WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0)
    printf("exit=%d\n", WEXITSTATUS(status));
}

static void run_states(struct module module, int fn, const struct variation *v, const char *name, const char *value)
{
  char text[128];
  bool session = p11_functions[fn].param[0].kind == P11_K_SESSION;
  snprintf(text, sizeof text, name,
           v->what == BASE || v->what == ALL_NULL ? "" : p11_functions[fn].param[v->param].name, value);
  for (enum state s = VALID; s <= NOT_INITIALIZED; s++) {
    if (s != BAD_SESSION || session) run_case(module, fn, s, v, text);
  }
}

static void run_lengths(struct module module, int fn, enum what what, int param, const char *name)
{
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    run_states(module, fn, &(struct variation){what, param, lengths[i].value}, name, lengths[i].name);
  }
}

static void run_function(struct module module, int fn)
{
  const struct p11_function_info *f = &p11_functions[fn];
  /* softoken takes any PIN and asks for none to erase its keys: nothing would be left for the cases that follow. */
  if (f->group == P11_GROUP_TOKEN && getenv("TRANSPARENCY_PARAMETERS") != NULL) return;
  run_states(module, fn, &(struct variation){BASE, 0, 0}, "as it should be%s", "");
  if (only_good) return;
  run_states(module, fn, &(struct variation){ALL_NULL, 0, 0}, "all NULL%s", "");
  for (int i = 0; i < f->arity; i++) {
    int kind = f->param[i].kind;
    if (kind == P11_K_POINTER)
      run_states(module, fn, &(struct variation){SET, i, 0}, "%s set", "");
    else if (arg_is_pointer(kind))
      run_states(module, fn, &(struct variation){NULLED, i, 0}, "%s=NULL", "");
    if (kind == P11_K_LENGTH) run_lengths(module, fn, VALUE, i, "%s=%s");
    if (kind == P11_K_OUT_LENGTH) run_lengths(module, fn, CAPACITY, i, "*%s=%s");
    if (kind == P11_K_TEMPLATE || kind == P11_K_OUT_TEMPLATE) {
      run_lengths(module, fn, ATTRIBUTE_LENGTH, i, "%s[0].ulValueLen=%s");
      run_states(module, fn, &(struct variation){ATTRIBUTE_NULL, i, 0}, "%s[0].pValue=NULL", "");
    }
    if (kind == P11_K_MECHANISM) {
      run_lengths(module, fn, PARAMETER_LENGTH, i, "%s->ulParameterLen=%s");
      run_states(module, fn, &(struct variation){PARAMETER_NULL, i, 0}, "%s->pParameter=NULL", "");
    }
    if (kind == P11_K_OUT_BYTES && arg_in_place(f) >= 0) {
      run_states(module, fn, &(struct variation){IN_PLACE, i, 0}, "%s in place", "");
      run_states(module, fn, &(struct variation){OVERLAP, i, 0}, "%s overlapping", "");
    }
  }
}

/* Asked in a child: the parent only loads the module and makes no call, so that each case is a process's first. */
static int newest_version(struct module module)
{
  int fd[2], version = 0;
  if (pipe(fd) != 0) DIE("pipe");
  pid_t child = fork();
  if (child == 0) {
    CK_VERSION v = module_newest(module)->version;
    version = v.major * 256 + v.minor;
    _exit(write(fd[1], &version, sizeof version) == sizeof version ? 0 : 1);
  }
  if (child < 0 || read(fd[0], &version, sizeof version) != sizeof version) DIE("no function list");
  waitpid(child, NULL, 0);
  close(fd[0]);
  close(fd[1]);
  return version;
}

int main(int argc, char **argv)
{
  int option;
  while ((option = getopt(argc, argv, "abn:p:r")) != -1) {
    if (option == 'n')
      step = strtoul(optarg, NULL, 10);
    else if (option == 'p')
      world_pin = optarg;
    else if (option == 'r')
      args_random = true;
    else if (option == 'a')
      one_process = true;
    else if (option == 'b')
      only_good = true;
    else
      return 2;
  }
  if (optind >= argc) DIE("usage: transparency [-a] [-b] [-n N] [-p PIN] [-r] MODULE [FUNCTION]");
  args_map();
  struct module module = module_open(argv[optind]);
  CK_VERSION v = {0, 0};
  if (one_process) v = module_newest(module)->version;
  int version = one_process ? v.major * 256 + v.minor : newest_version(module);
  printf("version %d.%d\n", version >> 8, version & 255);
  for (int fn = 0; fn < P11_FUNCTIONS && p11_functions[fn].since <= version; fn++) {
    if (argv[optind + 1] == NULL || strcmp(argv[optind + 1], p11_functions[fn].name) == 0) run_function(module, fn);
  }
  return 0;
}
