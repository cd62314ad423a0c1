/* The functions that we hand out, and how a call goes from fault to fault; all made from functions.def. */
#include <stdatomic.h>

#include "faulty/faulty_part.h"

/* Where the thread is: the fault that runs now, and in which call of the client. */
struct place {
  const struct flt_set *set;
  int at;
  unsigned long number;
};
static _Thread_local struct place here;

static atomic_ulong calls[P11_FUNCTIONS];

void flt_calls_reset(void)
{
  for (size_t i = 0; i < P11_FUNCTIONS; i++) atomic_store(&calls[i], 0);
}

int flt_self(void)
{
  return here.at;
}

unsigned long flt_number(void)
{
  return here.number;
}

CK_ULONG flt_value(CK_ULONG otherwise)
{
  const struct flt_active *self = &here.set->active[here.at];
  return self->has_value ? self->value : otherwise;
}

/* A call of the client; it may come out of the target, from a callback of the host. */
static struct place enter(enum p11_function function)
{
  const struct place before = here;
  here = (struct place){flt_current(), -1, atomic_fetch_add(&calls[function], 1) + 1};
  return before;
}

static bool in_limits(const struct flt_active *active, int function)
{
  bool spoken_of = false;
  for (size_t i = 0; i < active->limits; i++) {
    const struct flt_limit *limit = &active->limit[i];
    if (limit->function != P11_F_ANY && limit->function != function) continue;
    if (here.number >= limit->first && here.number <= limit->last) return true;
    spoken_of = true;
  }
  return !spoken_of;
}

/* The next fault that has the function and may run; it is made the current one. NULL: the target's turn. */
static const struct flt_active *step(int function)
{
  const struct flt_set *set = here.set != NULL ? here.set : flt_current();
  for (int i = here.at + 1; set != NULL && i < (int)set->count; i++) {
    if (set->active[i].by_function[function].run != NULL && in_limits(&set->active[i], function)) {
      here.at = i;
      return &set->active[i];
    }
  }
  return NULL;
}

/* What the framework itself remembers of a call that reached the target. */
static void remember(int function, const uintptr_t *a, CK_RV rv)
{
  if (rv != CKR_OK) return;
  switch (function) {
    case P11_F_C_OpenSession: flt_opened(*(CK_SESSION_HANDLE_PTR)a[4], a[0], a[1]); break;
    case P11_F_C_CloseSession: flt_closed(a[0]); break;
    case P11_F_C_CloseAllSessions: flt_closed_all(a[0]); break;
    case P11_F_C_Finalize: flt_finalized(); break;
    default: break;
  }
}

/* clang-format off */
#define PARAMETER(ctx, ctype, pname, kind) ctype pname
#define NAME(ctx, ctype, pname, kind) pname
#define AS_NUMBER(ctx, ctype, pname, kind) (uintptr_t)(pname)
#define FROM_NUMBER(ctx, ctype, pname, kind) ctype pname = (ctype)*from++;

#define F(name, since, group, class, ...)                                          \
  CK_RV flt_target_##name(P11_LIST(PARAMETER, 0, __VA_ARGS__))                     \
  {                                                                                \
    if (flt_target[P11_F_##name] == NULL) return CKR_FUNCTION_NOT_SUPPORTED;       \
    const uintptr_t a[] = {P11_LIST(AS_NUMBER, 0, __VA_ARGS__)};                   \
    CK_RV rv = ((flt_type_##name *)flt_target[P11_F_##name])(P11_LIST(NAME, 0, __VA_ARGS__)); \
    remember(P11_F_##name, a, rv);                                                 \
    return rv;                                                                     \
  }                                                                                \
  static CK_RV go_on_##name(const uintptr_t *from)                                 \
  {                                                                                \
    P11_EACH(FROM_NUMBER, 0, __VA_ARGS__)                                          \
    return flt_next_##name(P11_LIST(NAME, 0, __VA_ARGS__));                        \
  }                                                                                \
  CK_RV flt_next_##name(P11_LIST(PARAMETER, 0, __VA_ARGS__))                       \
  {                                                                                \
    const struct place before = here;                                              \
    const struct flt_active *active = step(P11_F_##name);                          \
    CK_RV rv;                                                                      \
    if (active == NULL) {                                                          \
      rv = flt_target_##name(P11_LIST(NAME, 0, __VA_ARGS__));                      \
    } else if (active->by_function[P11_F_##name].any) {                            \
      uintptr_t a[] = {P11_LIST(AS_NUMBER, 0, __VA_ARGS__)};                       \
      struct flt_call call = {P11_F_##name, a, go_on_##name};                      \
      rv = ((flt_type_ANY *)active->by_function[P11_F_##name].run)(&call);         \
    } else {                                                                       \
      rv = ((flt_type_##name *)active->by_function[P11_F_##name].run)(P11_LIST(NAME, 0, __VA_ARGS__)); \
    }                                                                              \
    here = before;                                                                 \
    return rv;                                                                     \
  }                                                                                \
  static CK_RV entry_##name(P11_LIST(PARAMETER, 0, __VA_ARGS__))                   \
  {                                                                                \
    CK_RV rv = before_call(P11_F_##name);                                          \
    if (rv != CKR_OK) return rv;                                                   \
    const struct place before = enter(P11_F_##name);                               \
    rv = flt_next_##name(P11_LIST(NAME, 0, __VA_ARGS__));                          \
    here = before;                                                                 \
    return rv;                                                                     \
  }

/* These four may find another configuration than the last time, and fail if it is not one. */
static CK_RV before_call(int function)
{
  switch (function) {
    case P11_F_C_GetFunctionList:
    case P11_F_C_GetInterfaceList:
    case P11_F_C_GetInterface: return flt_configure();
    case P11_F_C_Initialize: {
      const CK_RV rv = flt_configure();
      return rv != CKR_OK ? rv : flt_current()->problem[0] != 0 ? CKR_ARGUMENTS_BAD : CKR_OK;
    }
    default: return CKR_OK;
  }
}

#include "functions.def"

flt_function *const flt_entries[P11_FUNCTIONS] = {
#define F(name, ...) (flt_function *)entry_##name,
#include "functions.def"
};
/* clang-format on */

#define EXPORT __attribute__((visibility("default")))
EXPORT flt_type_C_GetFunctionList C_GetFunctionList;
EXPORT flt_type_C_GetInterfaceList C_GetInterfaceList;
EXPORT flt_type_C_GetInterface C_GetInterface;

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  return entry_C_GetFunctionList(ppFunctionList);
}

CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
  return entry_C_GetInterfaceList(pInterfacesList, pulCount);
}

CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                     CK_FLAGS flags)
{
  return entry_C_GetInterface(pInterfaceName, pVersion, ppInterface, flags);
}
