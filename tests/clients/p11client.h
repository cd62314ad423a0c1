/* What the test clients share: loading a module and ending with a message when something is not as it must be. */
#ifndef P11CLIENT_H
#define P11CLIENT_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11.h"

#define DIE(...)                  \
  do {                            \
    fprintf(stderr, __VA_ARGS__); \
    fputc('\n', stderr);          \
    exit(3);                      \
  } while (0)

/* A call that must succeed. */
#define MUST(call)                                           \
  do {                                                       \
    CK_RV must_rv = (call);                                  \
    if (must_rv != CKR_OK) DIE("%s: 0x%lx", #call, must_rv); \
  } while (0)

/* The exported entry points, NULL where the module has none. */
struct module {
  void *handle;
  CK_C_GetFunctionList get_list;
  CK_C_GetInterfaceList get_interfaces;
  CK_C_GetInterface get_interface;
};

static inline struct module module_open(const char *path)
{
  struct module m = {NULL, NULL, NULL, NULL};
  m.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (m.handle == NULL) DIE("dlopen: %s", dlerror());
  *(void **)&m.get_list = dlsym(m.handle, "C_GetFunctionList");
  *(void **)&m.get_interfaces = dlsym(m.handle, "C_GetInterfaceList");
  *(void **)&m.get_interface = dlsym(m.handle, "C_GetInterface");
  if (m.get_list == NULL) DIE("%s has no C_GetFunctionList", path);
  return m;
}

/* The list of 2.40. */
static inline CK_FUNCTION_LIST_PTR module_list(const char *path)
{
  CK_FUNCTION_LIST_PTR list = NULL;
  struct module m = module_open(path);
  MUST(m.get_list(&list));
  return list;
}

/* The newest list of the standard that the module has: 2.40, 3.0 or 3.2, by its stamp. */
static inline CK_FUNCTION_LIST_3_2_PTR module_newest(struct module m)
{
  CK_INTERFACE_PTR interface = NULL;
  CK_FUNCTION_LIST_PTR list = NULL;
  if (m.get_interface != NULL && m.get_interface(NULL, NULL, &interface, 0) == CKR_OK)
    return (CK_FUNCTION_LIST_3_2_PTR)interface->pFunctionList;
  MUST(m.get_list(&list));
  return (CK_FUNCTION_LIST_3_2_PTR)(void *)list;
}

#endif
