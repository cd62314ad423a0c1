/* The stub: the library that `p11trace wrap` writes out and that is given to the host instead of the vendor's. It finds the
 * .conf beside itself, loads the resident recorder and hands the three entry points on. The host may unload it: it has no
 * thread-local storage and no thread, and its destructor lets the recorder unload the target.
 *
 * Whatever is wrong with the recorder, the host gets the target's own lists, untraced, and one line on stderr. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/load/conf.h"
#include "shim/load/gate.h"
#include "shim/trace/version.h"

#define EXPORT __attribute__((visibility("default")))

/* Marks this library as ours: `p11trace wrap` refuses to wrap it again. */
extern const char p11trace_stub[];
EXPORT const char p11trace_stub[] = P11T_VERSION;

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList);
CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount);
CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                     CK_FLAGS flags);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct p11trace_gate *gate; /* the recorder's, or &plain */
static struct p11trace_gate plain;
static p11trace_detach_function detach;
static void *target; /* loaded by ourselves, untraced */
static struct p11t_conf conf;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
  char line[1024];
  va_list args;
  int n = snprintf(line, sizeof line, "p11trace: ");
  va_start(args, format);
  n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
  va_end(args);
  if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
  line[n] = '\n';
  if (write(2, line, (size_t)n + 1) < 0) return;
}

/* Untraced: the target's own entry points. */
static void pass_through(const char *module)
{
  target = dlopen(module, RTLD_NOW | RTLD_LOCAL);
  if (target == NULL) {
    say("%s: %s: set `module` in %s to the vendor's library", module, dlerror(), conf.path);
    return;
  }
  plain.get_function_list = (CK_C_GetFunctionList)dlsym(target, "C_GetFunctionList");
  plain.get_interface_list = (CK_C_GetInterfaceList)dlsym(target, "C_GetInterfaceList");
  plain.get_interface = (CK_C_GetInterface)dlsym(target, "C_GetInterface");
  if (plain.get_function_list == NULL && plain.get_interface == NULL)
    say("%s: is not a PKCS #11 module: it has no C_GetFunctionList", module);
}

static void attach(void)
{
  Dl_info self;
  gate = &plain;
  if (dladdr(p11trace_stub, &self) == 0 || self.dli_fname == NULL) {
    say("cannot find the path of the traced library; it does not work");
    return;
  }
  if (!p11t_conf_read(self.dli_fname, &conf)) {
    say("%s: %s: `p11trace wrap` writes a good one; the module cannot be loaded without it", conf.path, conf.problem);
    return;
  }
  const char *module = p11t_conf_get(&conf, "module"), *path = p11t_conf_get(&conf, "recorder");
  if (path == NULL) path = "libp11trace.so";
  /* Under `p11trace run` a recorder is there already, perhaps from another folder: there shall be one numbering. */
  void *recorder = RTLD_DEFAULT;
  p11trace_attach_function begin = (p11trace_attach_function)dlsym(recorder, "p11trace_attach");
  if (begin == NULL || begin(P11T_STUB_ABI, NULL) == NULL) {
    recorder = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    begin = recorder ? (p11trace_attach_function)dlsym(recorder, "p11trace_attach") : NULL;
  }
  if (begin != NULL) {
    const struct p11trace_gate *given = begin(P11T_STUB_ABI, self.dli_fname);
    if (given != NULL) {
      detach = (p11trace_detach_function)dlsym(recorder, "p11trace_detach");
      gate = given;
      return;
    }
    say("%s: does not fit %s (it is older or newer): run `p11trace wrap` again; not tracing", path, self.dli_fname);
  } else {
    say("%s: the recorder cannot be loaded: %s: put it there or run `p11trace wrap` again; not tracing", path,
        recorder ? "it has no p11trace_attach" : dlerror());
  }
  if (module == NULL)
    say("%s: has no `module`: run `p11trace wrap` again", conf.path);
  else
    pass_through(module);
}

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  pthread_once(&once, attach);
  return gate->get_function_list ? gate->get_function_list(ppFunctionList) : CKR_GENERAL_ERROR;
}

/* The interface of an untraced target that has none. */
static CK_RV only_interface(CK_INTERFACE *interface)
{
  CK_FUNCTION_LIST_PTR list = NULL;
  CK_RV rv = gate->get_function_list ? gate->get_function_list(&list) : CKR_GENERAL_ERROR;
  *interface = (CK_INTERFACE){(CK_CHAR *)"PKCS 11", list, 0};
  return rv;
}

EXPORT CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
  pthread_once(&once, attach);
  if (gate->get_interface_list) return gate->get_interface_list(pInterfacesList, pulCount);
  CK_INTERFACE only;
  CK_RV rv = only_interface(&only);
  if (rv != CKR_OK) return rv;
  if (pulCount == NULL) return CKR_ARGUMENTS_BAD;
  CK_ULONG room = *pulCount;
  *pulCount = 1;
  if (pInterfacesList == NULL) return CKR_OK;
  if (room < 1) return CKR_BUFFER_TOO_SMALL;
  *pInterfacesList = only;
  return CKR_OK;
}

EXPORT CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                            CK_FLAGS flags)
{
  static CK_INTERFACE only;
  pthread_once(&once, attach);
  if (gate->get_interface) return gate->get_interface(pInterfaceName, pVersion, ppInterface, flags);
  CK_RV rv = only_interface(&only);
  if (rv != CKR_OK) return rv;
  if (ppInterface == NULL || !p11t_is_only_interface(pInterfaceName, pVersion, flags, only.pFunctionList))
    return CKR_ARGUMENTS_BAD;
  *ppInterface = &only;
  return CKR_OK;
}

__attribute__((destructor)) static void unload(void)
{
  if (detach != NULL && gate != NULL && gate != &plain) detach(gate);
  if (target != NULL) dlclose(target);
}
