/* The target, and our lists in place of its own: of the same versions, with the same holes. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "faulty/faulty_part.h"

flt_function *flt_target[P11_FUNCTIONS];

static char *loaded_from;
static CK_C_GetFunctionList their_function_list;
static CK_C_GetInterfaceList their_interface_list;
static CK_C_GetInterface their_interface;

/* --- lists -------------------------------------------------------------------------------------------------------- */

struct wrapped {
  const void *theirs; /* NULL: one of flt_list */
  CK_FUNCTION_LIST_3_2 ours;
  CK_INTERFACE interface;
};

enum { WRAPPED = 16 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct wrapped wrapped[WRAPPED];
static size_t wrapped_count;

static size_t functions_in(CK_VERSION version)
{
  const unsigned number = version.major * 256u + version.minor;
  size_t n = 0;
  /* 2.1 to 2.40 have the same functions, and 3.1 has those of 3.0. */
  while (n < P11_FUNCTIONS && (p11_functions[n].since <= number || p11_functions[n].since == P11_V2_40)) n++;
  return n;
}

/* The place of a function in a list; all versions begin alike. */
static void *place(const void *list, size_t function)
{
  return (char *)(uintptr_t)list + offsetof(CK_FUNCTION_LIST_3_2, C_Initialize) + function * sizeof(flt_function *);
}

static flt_function *function_of(const void *list, size_t function)
{
  flt_function *f;
  memcpy(&f, place(list, function), sizeof f);
  return f;
}

static void fill(struct wrapped *w, CK_VERSION version, const void *theirs)
{
  w->theirs = theirs;
  w->ours.version = version;
  for (size_t i = 0; i < functions_in(version); i++)
    if (theirs == NULL || function_of(theirs, i) != NULL)
      memcpy(place(&w->ours, i), &flt_entries[i], sizeof flt_entries[i]);
}

/* Ours for theirs, made when it is first asked for; theirs when there are too many. */
static struct wrapped *wrap(const void *theirs, CK_VERSION version, const CK_INTERFACE *interface)
{
  struct wrapped *found = NULL;
  pthread_mutex_lock(&mutex);
  for (size_t i = 0; found == NULL && i < wrapped_count; i++) {
    struct wrapped *w = &wrapped[i];
    if (w->theirs == theirs && w->ours.version.major == version.major && w->ours.version.minor == version.minor &&
        (interface == NULL || w->interface.flags == interface->flags))
      found = w;
  }
  if (found == NULL && wrapped_count < WRAPPED) {
    found = &wrapped[wrapped_count++];
    fill(found, version, theirs);
    if (interface != NULL)
      found->interface = *interface;
    else
      found->interface.pInterfaceName = (CK_UTF8CHAR_PTR) "PKCS 11";
    found->interface.pFunctionList = &found->ours;
  }
  pthread_mutex_unlock(&mutex);
  return found;
}

CK_VOID_PTR flt_list(CK_BYTE major, CK_BYTE minor)
{
  struct wrapped *w = wrap(NULL, (CK_VERSION){major, minor}, NULL);
  return w != NULL ? &w->ours : NULL;
}

CK_INTERFACE_PTR flt_interface(CK_BYTE major, CK_BYTE minor)
{
  struct wrapped *w = wrap(NULL, (CK_VERSION){major, minor}, NULL);
  return w != NULL ? &w->interface : NULL;
}

CK_INTERFACE_PTR flt_list_without(const void *list, enum p11_function function)
{
  static struct wrapped holed[4];
  static size_t count;
  const CK_VERSION version = *(const CK_VERSION *)list;
  struct wrapped *found = &holed[0];
  pthread_mutex_lock(&mutex);
  while (found < &holed[count] && found->theirs != list) found++;
  if (found == &holed[count] && count < sizeof holed / sizeof holed[0]) {
    flt_function *const none = NULL;
    count++;
    fill(found, version, list);
    memcpy(place(&found->ours, function), &none, sizeof none);
    found->interface = (CK_INTERFACE){(CK_UTF8CHAR_PTR) "PKCS 11", &found->ours, 0};
  }
  pthread_mutex_unlock(&mutex);
  return found < &holed[count] ? &found->interface : flt_interface(version.major, version.minor);
}

static bool is_standard(const CK_INTERFACE *interface)
{
  if (interface->pInterfaceName == NULL || interface->pFunctionList == NULL) return false;
  const CK_VERSION *version = interface->pFunctionList;
  return strcmp((const char *)interface->pInterfaceName, "PKCS 11") == 0 &&
         (version->major == 2 || version->major == 3);
}

/* A vendor's interface is handed through. */
static const CK_INTERFACE *ours_for(const CK_INTERFACE *interface)
{
  if (!is_standard(interface)) return interface;
  const struct wrapped *w = wrap(interface->pFunctionList, *(CK_VERSION *)interface->pFunctionList, interface);
  return w != NULL ? &w->interface : interface;
}

CK_RV flt_lists_function_list(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  const CK_RV rv = their_function_list(ppFunctionList);
  if (rv != CKR_OK || ppFunctionList == NULL || *ppFunctionList == NULL) return rv;
  struct wrapped *w = wrap(*ppFunctionList, (*ppFunctionList)->version, NULL);
  if (w != NULL) *ppFunctionList = (CK_FUNCTION_LIST_PTR)(void *)&w->ours;
  return rv;
}

/* The only interface of a target that does not know of interfaces. */
static const CK_INTERFACE *only_interface(void)
{
  CK_FUNCTION_LIST_PTR list = NULL;
  if (their_function_list(&list) != CKR_OK || list == NULL) return NULL;
  const struct wrapped *w = wrap(list, list->version, NULL);
  return w != NULL ? &w->interface : NULL;
}

CK_RV flt_lists_interface_list(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
  if (their_interface_list != NULL) {
    const CK_RV rv = their_interface_list(pInterfacesList, pulCount);
    if (rv == CKR_OK && pInterfacesList != NULL)
      for (CK_ULONG i = 0; i < *pulCount; i++) pInterfacesList[i] = *ours_for(&pInterfacesList[i]);
    return rv;
  }
  const CK_INTERFACE *only = only_interface();
  if (pulCount == NULL) return CKR_ARGUMENTS_BAD;
  if (only == NULL) return CKR_GENERAL_ERROR;
  const CK_ULONG room = *pulCount;
  *pulCount = 1;
  if (pInterfacesList == NULL) return CKR_OK;
  if (room < 1) return CKR_BUFFER_TOO_SMALL;
  pInterfacesList[0] = *only;
  return CKR_OK;
}

CK_RV flt_lists_interface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                          CK_FLAGS flags)
{
  if (their_interface != NULL) {
    const CK_RV rv = their_interface(pInterfaceName, pVersion, ppInterface, flags);
    if (rv == CKR_OK && ppInterface != NULL && *ppInterface != NULL)
      *ppInterface = (CK_INTERFACE_PTR)(uintptr_t)ours_for(*ppInterface);
    return rv;
  }
  const CK_INTERFACE *only = only_interface();
  if (ppInterface == NULL) return CKR_ARGUMENTS_BAD;
  if (only == NULL) return CKR_GENERAL_ERROR;
  const CK_VERSION *version = only->pFunctionList;
  if ((pInterfaceName != NULL && strcmp((char *)pInterfaceName, (char *)only->pInterfaceName) != 0) ||
      (pVersion != NULL && (pVersion->major != version->major || pVersion->minor != version->minor)) || flags != 0)
    return CKR_ARGUMENTS_BAD;
  *ppInterface = (CK_INTERFACE_PTR)(uintptr_t)only;
  return CKR_OK;
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static void take_functions(const void *list, CK_VERSION version)
{
  for (size_t i = 0; i < functions_in(version); i++)
    if (flt_target[i] == NULL) flt_target[i] = function_of(list, i);
}

/* The newest first; whichever list the client uses, the call goes to the newest function of that name. */
static void take_interfaces(void)
{
  static CK_VERSION versions[] = {
      {3, 2},
      {3, 1},
      {3, 0}
  };
  for (size_t i = 0; their_interface != NULL && i < sizeof versions / sizeof versions[0]; i++) {
    CK_INTERFACE_PTR interface = NULL;
    if (their_interface((CK_UTF8CHAR_PTR) "PKCS 11", &versions[i], &interface, 0) == CKR_OK && interface != NULL)
      take_functions(interface->pFunctionList, *(CK_VERSION *)interface->pFunctionList);
  }
}

CK_RV flt_load(const char *path)
{
  if (loaded_from != NULL) {
    if (strcmp(loaded_from, path) == 0) return CKR_OK;
    fprintf(stderr, "p11faulty: %s is loaded; a process cannot have %s as well\n", loaded_from, path);
    return CKR_GENERAL_ERROR;
  }
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    fprintf(stderr, "p11faulty: the target cannot be loaded: %s\n", dlerror());
    return CKR_GENERAL_ERROR;
  }
  CK_FUNCTION_LIST_PTR list = NULL;
  *(void **)&their_function_list = dlsym(handle, "C_GetFunctionList");
  *(void **)&their_interface_list = dlsym(handle, "C_GetInterfaceList");
  *(void **)&their_interface = dlsym(handle, "C_GetInterface");
  Dl_info us, them;
  const bool ourselves = their_function_list != NULL && dladdr((void *)(uintptr_t)flt_load, &us) != 0 &&
                         dladdr((void *)(uintptr_t)their_function_list, &them) != 0 && us.dli_fbase == them.dli_fbase;
  if (their_function_list == NULL || ourselves || their_function_list(&list) != CKR_OK || list == NULL) {
    fprintf(stderr, "p11faulty: %s %s\n", path, ourselves ? "is this module itself" : "has no function list to give");
    dlclose(handle);
    their_function_list = NULL, their_interface_list = NULL, their_interface = NULL;
    return CKR_GENERAL_ERROR;
  }
  take_interfaces();
  take_functions(list, list->version);
  flt_target[P11_F_C_GetFunctionList] = (flt_function *)flt_lists_function_list;
  flt_target[P11_F_C_GetInterfaceList] = (flt_function *)flt_lists_interface_list;
  flt_target[P11_F_C_GetInterface] = (flt_function *)flt_lists_interface;
  loaded_from = strdup(path);
  return CKR_OK;
}
