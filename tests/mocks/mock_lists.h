/* The functions, lists and interfaces of the mock modules, and what happens when one is loaded and unloaded. */
#ifndef MOCK_LISTS_H
#define MOCK_LISTS_H

static CK_RV mock_function_list(CK_FUNCTION_LIST_PTR_PTR list);
static CK_RV mock_interface_list(CK_INTERFACE_PTR list, CK_ULONG_PTR count);
static CK_RV mock_interface(const char *name, const CK_VERSION *version, CK_INTERFACE_PTR_PTR found, CK_FLAGS flags);

static CK_RV mock_dispatch(int fn, const uintptr_t *a)
{
  switch (fn) {
    case P11_F_C_GetFunctionList: return mock_function_list((CK_FUNCTION_LIST_PTR_PTR)a[0]);
    case P11_F_C_GetInterfaceList: return mock_interface_list((CK_INTERFACE_PTR)a[0], (CK_ULONG_PTR)a[1]);
    case P11_F_C_GetInterface:
      return mock_interface((const char *)a[0], (const CK_VERSION *)a[1], (CK_INTERFACE_PTR_PTR)a[2], a[3]);
    default: return mock_call(fn, a);
  }
}

#define MOCK_PARAMETER(ctx, ctype, pname, kind) ctype pname
#define MOCK_ARGUMENT(ctx, ctype, pname, kind) (uintptr_t)(pname)
/* The older modules have no list for the newer functions. */
#define F(name, since, group, class, ...)                                                    \
  __attribute__((unused)) static CK_RV mock_##name(P11_LIST(MOCK_PARAMETER, 0, __VA_ARGS__)) \
  {                                                                                          \
    const uintptr_t a[] = {P11_LIST(MOCK_ARGUMENT, 0, __VA_ARGS__)};                         \
    return mock_dispatch(P11_F_##name, a);                                                   \
  }
#include "functions.def"

/* clang-format off */
/* The lists of all three versions begin with the same functions, so that one table, cut at three places, would do; they
 * are three objects because callers compare pointers. */
#define MOCK_IN_V2_40(name) mock_##name,
#define MOCK_IN_V3_0(name)
#define MOCK_IN_V3_2(name)
#define F(name, since, ...) MOCK_IN_##since(name)
static CK_FUNCTION_LIST mock_list_2_40 = {{2, 40},
#include "functions.def"
};
#if MOCK_SINCE >= 0x0300
#undef MOCK_IN_V3_0
#define MOCK_IN_V3_0(name) mock_##name,
#define F(name, since, ...) MOCK_IN_##since(name)
static CK_FUNCTION_LIST_3_0 mock_list_3_0 = {{3, 0},
#include "functions.def"
};
#endif
#if MOCK_SINCE >= 0x0302
#undef MOCK_IN_V3_2
#define MOCK_IN_V3_2(name) mock_##name,
#define F(name, since, ...) MOCK_IN_##since(name)
static CK_FUNCTION_LIST_3_2 mock_list_3_2 = {{3, 2},
#include "functions.def"
};
#endif

/* clang-format on */

/* Two interfaces that no table describes: one laid out as NSS lays out its own, one that nobody knows. */
static CK_RV mock_fips_status(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG operation,
                              CK_ULONG_PTR status)
{
  (void)operation;
  *status = session + object;
  return CKR_OK;
}
static struct {
  CK_VERSION version;
  CK_RV (*status)(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ULONG, CK_ULONG_PTR);
} mock_list_fips = {
    {1, 0},
    mock_fips_status
};

static int mock_acme_answer(int question)
{
  return question + 42;
}
static struct {
  CK_VERSION version;
  int (*answer)(int);
} mock_list_acme = {
    {9, 9},
    mock_acme_answer
};

#define MOCK_INTERFACE(name, list, flags)   \
  {                                         \
    (CK_UTF8CHAR_PTR)(name), &(list), flags \
  }
static CK_INTERFACE mock_interfaces[] = {
#if MOCK_SINCE >= 0x0300
    MOCK_INTERFACE("PKCS 11", mock_list_3_0, 0),
#endif
    MOCK_INTERFACE("Vendor Acme", mock_list_acme, 0x80000000ul | CKF_INTERFACE_FORK_SAFE),
#if MOCK_SINCE >= 0x0302
    MOCK_INTERFACE("PKCS 11", mock_list_3_2, CKF_INTERFACE_FORK_SAFE),
#endif
    MOCK_INTERFACE("Vendor NSS FIPS Interface", mock_list_fips, 0),
    MOCK_INTERFACE("PKCS 11", mock_list_2_40, CKF_INTERFACE_FORK_SAFE),
};
#define MOCK_INTERFACES (sizeof mock_interfaces / sizeof mock_interfaces[0])

static CK_RV mock_function_list(CK_FUNCTION_LIST_PTR_PTR list)
{
  if (list == NULL) return CKR_ARGUMENTS_BAD;
  *list = &mock_list_2_40;
#if MOCK_SINCE >= 0x0300
  if (getenv("MOCK_LIST") != NULL) *list = (CK_FUNCTION_LIST_PTR)&mock_list_3_0;
#endif
#if MOCK_SINCE >= 0x0302
  if (getenv("MOCK_LIST") != NULL) *list = (CK_FUNCTION_LIST_PTR)&mock_list_3_2;
#endif
  return CKR_OK;
}

static CK_RV mock_interface_list(CK_INTERFACE_PTR list, CK_ULONG_PTR count)
{
  CK_RV rv = CKR_OK;
  if (count == NULL) return CKR_ARGUMENTS_BAD;
  if (mock_room(count, list, MOCK_INTERFACES, &rv)) memcpy(list, mock_interfaces, sizeof mock_interfaces);
  return rv;
}

/* Without a name the newest list of the standard; without a version the first of the name; all flags must be there. */
static CK_RV mock_interface(const char *name, const CK_VERSION *version, CK_INTERFACE_PTR_PTR found, CK_FLAGS flags)
{
  CK_INTERFACE_PTR best = NULL;
  if (found == NULL) return CKR_ARGUMENTS_BAD;
  for (size_t i = 0; i < MOCK_INTERFACES; i++) {
    CK_INTERFACE_PTR one = &mock_interfaces[i];
    const CK_VERSION *v = one->pFunctionList;
    if (strcmp((const char *)one->pInterfaceName, name ? name : "PKCS 11") != 0 || (one->flags & flags) != flags)
      continue;
    if (version != NULL && (v->major != version->major || v->minor != version->minor)) continue;
    if (best != NULL &&
        (name != NULL || ((CK_VERSION *)best->pFunctionList)->major * 256 + ((CK_VERSION *)best->pFunctionList)->minor >
                             v->major * 256 + v->minor))
      continue;
    best = one;
  }
  if (best == NULL) return CKR_ARGUMENTS_BAD;
  *found = best;
  return CKR_OK;
}

/* What a module exports; a 2.40 one has C_GetFunctionList alone, as SoftHSM does. */
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
  return mock_function_list(list);
}
#if MOCK_SINCE >= 0x0300
CK_RV C_GetInterfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count);
CK_RV C_GetInterfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count)
{
  return mock_interface_list(list, count);
}
CK_RV C_GetInterface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version, CK_INTERFACE_PTR_PTR found, CK_FLAGS flags);
CK_RV C_GetInterface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version, CK_INTERFACE_PTR_PTR found, CK_FLAGS flags)
{
  return mock_interface((const char *)name, version, found, flags);
}
#endif

static int mock_named(const char *variable)
{
  const char *name = getenv(variable);
  return name ? p11_function_by_name(name) : -1;
}

static void mock_clear_slots(void *list, const char *names, int newest)
{
  CK_VOID_PTR *slot = (CK_VOID_PTR *)((char *)list + offsetof(CK_FUNCTION_LIST, C_Initialize));
  for (int i = 0; i < P11_FUNCTIONS; i++) {
    size_t n = strlen(p11_functions[i].name);
    if (p11_functions[i].since > newest) break; /* the table is sorted by version */
    for (const char *at = names; (at = strstr(at, p11_functions[i].name)) != NULL; at += n) {
      if (at[n] == ',' || at[n] == 0) slot[i] = NULL;
    }
  }
}

__attribute__((constructor)) static void mock_load(void)
{
  const char *nulls = getenv("MOCK_NULLS");
  mock_env.hang = mock_named("MOCK_HANG");
  mock_env.crash = mock_named("MOCK_CRASH");
  mock_env.fork = mock_named("MOCK_FORK");
  mock_env.notify = mock_named("MOCK_NOTIFY");
  mock_env.lie = mock_named("MOCK_LIE");
  mock_env.overrun = mock_named("MOCK_OVERRUN");
  mock_env.fragile = getenv("MOCK_FRAGILE") != NULL;
  mock_env.remove = getenv("MOCK_REMOVE") != NULL;
  mock_env.block = getenv("MOCK_BLOCK") ? atol(getenv("MOCK_BLOCK")) : 0;
  mock_env.slow = getenv("MOCK_SLOW") ? atol(getenv("MOCK_SLOW")) : 0;
  if (nulls != NULL) {
    mock_clear_slots(&mock_list_2_40, nulls, P11_V2_40);
#if MOCK_SINCE >= 0x0300
    mock_clear_slots(&mock_list_3_0, nulls, P11_V3_0);
#endif
#if MOCK_SINCE >= 0x0302
    mock_clear_slots(&mock_list_3_2, nulls, P11_V3_2);
#endif
  }
  if (getenv("MOCK_VERBOSE")) fputs("mock: loaded\n", stderr);
}

__attribute__((destructor)) static void mock_unload(void)
{
  if (getenv("MOCK_VERBOSE")) fputs("mock: unloaded\n", stderr);
}
#endif
