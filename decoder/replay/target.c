/* The module: loaded as an application loads it, called through one typed thunk for each function of the table. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "decoder/read/arena.h"
#include "decoder/replay/live.h"

struct target {
  void *library;
  CK_FUNCTION_LIST_3_2 list; /* a copy: as many functions as the module's version has, NULL behind */
  CK_INTERFACE only;         /* of a module without C_GetInterface */
};

/* The thunks take arguments as they stand in struct live. */
typedef CK_RV (*thunk)(const CK_FUNCTION_LIST_3_2 *list, const uint64_t *v);

#define TAKE(ctx, ctype, pname, kind) ctype pname = (ctype)(uintptr_t)*v++;
#define PASS(ctx, ctype, pname, kind) pname
#define F(name, since, group, class, ...)                                        \
  static CK_RV thunk_##name(const CK_FUNCTION_LIST_3_2 *list, const uint64_t *v) \
  {                                                                              \
    if (list->name == NULL) return CKR_FUNCTION_NOT_SUPPORTED;                   \
    P11_EACH(TAKE, 0, __VA_ARGS__)                                               \
    return list->name(P11_LIST(PASS, 0, __VA_ARGS__));                           \
  }
#include "shim/spec/functions.def"

static const thunk thunks[] = {
#define F(name, ...) [P11_F_##name] = thunk_##name,
#include "shim/spec/functions.def"
};

/* The functions lie one after another behind the version, in the order of functions.def, in each version's list. */
static void copy_list(CK_FUNCTION_LIST_3_2 *to, const void *from)
{
  const CK_VERSION *version = from;
  unsigned have = version->major * 256u + version->minor, count = 0;
  if (have < P11_V2_40) have = P11_V2_40; /* 2.01 to 2.30 had the same list */
  while (count < P11_FUNCTIONS && p11_functions[count].since <= have) count++;
  const size_t first = offsetof(CK_FUNCTION_LIST, C_Initialize);
  memset(to, 0, sizeof *to);
  memcpy(to, from, first + count * sizeof(CK_VOID_PTR));
}

/* The newest list of the standard that the module has: C_GetInterface of 3.0 and later, else C_GetFunctionList. */
static const void *newest_list(void *library, CK_RV *rv)
{
  CK_C_GetInterface get_interface;
  CK_C_GetFunctionList get_list;
  *(void **)&get_interface = dlsym(library, "C_GetInterface");
  *(void **)&get_list = dlsym(library, "C_GetFunctionList");
  static const CK_VERSION versions[] = {
      {3, 2},
      {3, 0}
  };
  for (size_t i = 0; get_interface != NULL && i < sizeof versions / sizeof versions[0]; i++) {
    CK_VERSION version = versions[i];
    CK_INTERFACE *interface = NULL;
    *rv = get_interface((CK_UTF8CHAR_PTR)(uintptr_t) "PKCS 11", &version, &interface, 0);
    if (*rv == CKR_OK && interface != NULL && interface->pFunctionList != NULL) return interface->pFunctionList;
  }
  CK_FUNCTION_LIST *list = NULL;
  if (get_list == NULL) return NULL;
  *rv = get_list(&list);
  return *rv == CKR_OK ? list : NULL;
}

struct target *target_open(const char *path)
{
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "p11trace: %s: cannot be loaded as a module: %s\n", path, dlerror());
    return NULL;
  }
  CK_RV rv = CKR_OK;
  const void *list = newest_list(library, &rv);
  if (list == NULL) {
    if (rv != CKR_OK)
      fprintf(stderr, "p11trace: %s: its C_GetFunctionList failed with 0x%lx: no call can be replayed\n", path, rv);
    else
      fprintf(stderr, "p11trace: %s: it has no C_GetFunctionList: give the path of a PKCS #11 module\n", path);
    dlclose(library);
    return NULL;
  }
  struct target *target = read_zalloc(sizeof *target);
  target->library = library;
  copy_list(&target->list, list);
  /* A list of 2.40 has no place for them, but who exports them has them. */
  if (!target->list.C_GetInterface) *(void **)&target->list.C_GetInterface = dlsym(library, "C_GetInterface");
  if (!target->list.C_GetInterfaceList)
    *(void **)&target->list.C_GetInterfaceList = dlsym(library, "C_GetInterfaceList");
  return target;
}

void target_close(struct target *target)
{
  if (target == NULL) return;
  dlclose(target->library);
  free(target);
}

/* The interface of a module that has C_GetFunctionList alone, as p11trace's recorder answers in its place: an application that
 * asked for interfaces was given this one. */
static CK_RV only_interface(struct target *target, CK_INTERFACE *only)
{
  CK_FUNCTION_LIST *list = NULL;
  CK_RV rv =
      target->list.C_GetFunctionList != NULL ? target->list.C_GetFunctionList(&list) : CKR_FUNCTION_NOT_SUPPORTED;
  *only = (CK_INTERFACE){(CK_CHAR *)(uintptr_t) "PKCS 11", list, 0};
  return rv;
}

static CK_RV interface_list(struct target *target, CK_INTERFACE *interfaces, CK_ULONG *count)
{
  CK_INTERFACE only;
  CK_RV rv = only_interface(target, &only);
  if (rv != CKR_OK) return rv;
  if (count == NULL) return CKR_ARGUMENTS_BAD;
  CK_ULONG room = *count;
  *count = 1;
  if (interfaces == NULL) return CKR_OK;
  if (room < 1) return CKR_BUFFER_TOO_SMALL;
  *interfaces = only;
  return CKR_OK;
}

static CK_RV interface(struct target *target, const char *name, const CK_VERSION *version, CK_INTERFACE **answer,
                       CK_FLAGS flags)
{
  CK_RV rv = only_interface(target, &target->only);
  if (rv != CKR_OK) return rv;
  const CK_VERSION *have = target->only.pFunctionList;
  bool fits = (name == NULL || strcmp(name, "PKCS 11") == 0) && flags == 0 &&
              (version == NULL || (version->major == have->major && version->minor == have->minor));
  if (answer == NULL || !fits) return CKR_ARGUMENTS_BAD;
  *answer = &target->only;
  return CKR_OK;
}

static CK_RV in_its_place(struct target *target, const struct live *live)
{
  const uint64_t *v = live->v;
#define AT(type, i) ((type)(uintptr_t)v[i])
  if (live->call->known == P11_F_C_GetInterfaceList)
    return interface_list(target, AT(CK_INTERFACE *, 0), AT(CK_ULONG *, 1));
  return interface(target, AT(const char *, 0), AT(const CK_VERSION *, 1), AT(CK_INTERFACE **, 2), v[3]);
#undef AT
}

static uint64_t now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void target_call(struct target *target, struct live *live)
{
  int known = live->call->known;
  bool asks =
      (known == P11_F_C_GetInterface || known == P11_F_C_GetInterfaceList) && target->list.C_GetInterface == NULL;
  live->start = now();
  live->rv = asks ? in_its_place(target, live) : thunks[known](&target->list, live->v);
  live->end = now();
}

const CK_FUNCTION_LIST_3_2 *target_functions(const struct target *target)
{
  return &target->list;
}
