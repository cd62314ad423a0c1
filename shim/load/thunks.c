/* What stands between wrapper and module: the functions that hand out lists, and C_Initialize, whose parameters may hold
 * ours, and C_OpenSession, whose callback may be recorded. The same five for every set, bound to it by macro. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "shim/load/notify.h"
#include "shim/load/parameters.h"
#include "shim/load/target.h"

static CK_RV get_function_list(unsigned number, CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  const struct p11t_set *set = &p11t_sets[number];
  CK_C_GetFunctionList real = (CK_C_GetFunctionList)set->real[P11_F_C_GetFunctionList];
  if (set->owner->lazy) {
    if (ppFunctionList == NULL) return CKR_ARGUMENTS_BAD;
    *ppFunctionList = p11t_lazy_list(number);
    return CKR_OK;
  }
  CK_RV rv = real(ppFunctionList);
  if (rv == CKR_OK && ppFunctionList != NULL) *ppFunctionList = p11t_list_wrapped(set->owner, *ppFunctionList, NULL, 0);
  return rv;
}

/* The one interface of a target that has only C_GetFunctionList. */
static CK_RV only_interface(unsigned number, CK_INTERFACE *only)
{
  CK_FUNCTION_LIST_PTR list = NULL;
  CK_RV rv = get_function_list(number, &list);
  *only = (CK_INTERFACE){(CK_CHAR *)"PKCS 11", list, 0};
  return rv;
}

static CK_RV get_interface_list(unsigned number, CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
  const struct p11t_set *set = &p11t_sets[number];
  CK_C_GetInterfaceList real = (CK_C_GetInterfaceList)set->real[P11_F_C_GetInterfaceList];
  if (real == NULL) {
    CK_INTERFACE only;
    CK_RV rv = only_interface(number, &only);
    if (rv != CKR_OK) return rv;
    if (pulCount == NULL) return CKR_ARGUMENTS_BAD;
    CK_ULONG room = *pulCount;
    *pulCount = 1;
    if (pInterfacesList == NULL) return CKR_OK;
    if (room < 1) return CKR_BUFFER_TOO_SMALL;
    *pInterfacesList = only;
    return CKR_OK;
  }
  CK_ULONG room = pInterfacesList && pulCount ? *pulCount : 0;
  CK_RV rv = real(pInterfacesList, pulCount);
  if (rv != CKR_OK || pInterfacesList == NULL || pulCount == NULL) return rv;
  for (CK_ULONG i = 0; i < *pulCount && i < room; i++) {
    CK_INTERFACE *face = &pInterfacesList[i];
    face->pFunctionList =
        p11t_list_wrapped(set->owner, face->pFunctionList, (const char *)face->pInterfaceName, face->flags);
  }
  return rv;
}

/* Copies of the module's interfaces with our lists in them; the module's own are not written to. One for each. */
static CK_INTERFACE *interface_copy(const CK_INTERFACE *real, void *list)
{
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static CK_INTERFACE copies[128];
  static unsigned used;
  CK_INTERFACE *copy = NULL;
  pthread_mutex_lock(&mutex);
  for (unsigned i = 0; i < used && copy == NULL; i++) {
    const CK_INTERFACE *c = &copies[i];
    if (c->pFunctionList == list && c->pInterfaceName == real->pInterfaceName && c->flags == real->flags)
      copy = &copies[i];
  }
  if (copy == NULL) {
    copy = &copies[used < 127 ? used++ : 127];
    *copy = (CK_INTERFACE){real->pInterfaceName, list, real->flags};
  }
  pthread_mutex_unlock(&mutex);
  return copy;
}

static CK_RV get_interface(unsigned number, CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
                           CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags)
{
  const struct p11t_set *set = &p11t_sets[number];
  CK_C_GetInterface real = (CK_C_GetInterface)set->real[P11_F_C_GetInterface];
  if (real == NULL) {
    CK_INTERFACE only;
    CK_RV rv = only_interface(number, &only);
    if (rv != CKR_OK) return rv;
    if (ppInterface == NULL || !p11t_is_only_interface(pInterfaceName, pVersion, flags, only.pFunctionList))
      return CKR_ARGUMENTS_BAD;
    *ppInterface = interface_copy(&only, only.pFunctionList);
    return CKR_OK;
  }
  CK_RV rv = real(pInterfaceName, pVersion, ppInterface, flags);
  if (rv != CKR_OK || ppInterface == NULL || *ppInterface == NULL) return rv;
  const CK_INTERFACE *face = *ppInterface;
  void *list = p11t_list_wrapped(set->owner, face->pFunctionList, (const char *)face->pInterfaceName, face->flags);
  if (list != face->pFunctionList) *ppInterface = interface_copy(face, list);
  return rv;
}

/* Our own keys in the member after flags are cut out of a copy; everything else reaches the module as it was given. */
static CK_RV initialize(unsigned number, CK_VOID_PTR pInitArgs)
{
  struct p11t_set *set = &p11t_sets[number];
  struct p11t_parameters own;
  bool cut = p11t_parameters_cut(pInitArgs, &own, !set->owner->initialized);
  set->owner->initialized = true;
  if (set->owner->lazy) {
    if (!cut || own.module[0] == 0) return p11t_parameters_missing();
    CK_RV rv = p11t_target_load_late(set->owner, own.module);
    if (rv != CKR_OK) return rv;
    /* Until now nothing was recorded, because the parameters may say where to. Once more, recorded. */
    return ((CK_C_Initialize)p11t_wrappers[number][P11_F_C_Initialize])(pInitArgs);
  }
  if (cut) pInitArgs = &own.copy;
  return ((CK_C_Initialize)set->real[P11_F_C_Initialize])(pInitArgs);
}

static CK_RV open_session(unsigned number, CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication,
                          CK_NOTIFY Notify, CK_SESSION_HANDLE_PTR phSession)
{
  const struct p11t_set *set = &p11t_sets[number];
  p11t_notify_wrap(set->owner->module, &pApplication, &Notify);
  return ((CK_C_OpenSession)set->real[P11_F_C_OpenSession])(slotID, flags, pApplication, Notify, phSession);
}

/* clang-format off */
#define THUNKS(n)                                                                                                     \
  static CK_RV initialize_##n(CK_VOID_PTR a) { return initialize(n, a); }                                             \
  static CK_RV function_list_##n(CK_FUNCTION_LIST_PTR_PTR a) { return get_function_list(n, a); }                      \
  static CK_RV interface_list_##n(CK_INTERFACE_PTR a, CK_ULONG_PTR b) { return get_interface_list(n, a, b); }         \
  static CK_RV interface_##n(CK_UTF8CHAR_PTR a, CK_VERSION_PTR b, CK_INTERFACE_PTR_PTR c, CK_FLAGS d)                 \
  {                                                                                                                   \
    return get_interface(n, a, b, c, d);                                                                              \
  }                                                                                                                   \
  static CK_RV open_session_##n(CK_SLOT_ID a, CK_FLAGS b, CK_VOID_PTR c, CK_NOTIFY d, CK_SESSION_HANDLE_PTR e)        \
  {                                                                                                                   \
    return open_session(n, a, b, c, d, e);                                                                            \
  }
#define ROW(n)                                                                                                        \
  {(p11t_any_function)initialize_##n, (p11t_any_function)function_list_##n, (p11t_any_function)interface_list_##n,    \
   (p11t_any_function)interface_##n, (p11t_any_function)open_session_##n},
#define ALL(X)                                                                                                        \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19)       \
  X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
ALL(THUNKS)
const p11t_any_function p11t_thunks[P11T_SETS][5] = {ALL(ROW)};
