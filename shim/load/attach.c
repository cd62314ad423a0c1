/* Ways in: stubs attach themselves; a host that was given the recorder itself calls its entry points. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shim/load/conf.h"
#include "shim/load/gate.h"
#include "shim/load/preload.h"
#include "shim/load/target.h"
#include "shim/record/options.h"
#include "shim/record/say.h"
#include "shim/trace/version.h"

#define EXPORT __attribute__((visibility("default")))

const struct p11trace_gate *p11trace_attach(unsigned abi, const char *library);
void p11trace_detach(const struct p11trace_gate *gate);
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList);
CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount);
CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                     CK_FLAGS flags);

EXPORT const char p11trace_version[] = P11T_VERSION;

void p11t_options_once(const struct p11t_conf *conf)
{
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static bool done;
  pthread_mutex_lock(&mutex);
  for (size_t i = 0; !done && conf != NULL && i < conf->count; i++) {
    const char *name = conf->entry[i].name;
    if (strcmp(name, "module") == 0 || strcmp(name, "recorder") == 0) continue;
    p11t_option_set(name, conf->entry[i].value, conf->path);
  }
  if (!done) p11t_options_from_environment();
  done = true;
  pthread_mutex_unlock(&mutex);
}

/* `off`: the target's own entry points. */
static struct p11trace_gate *untraced(const char *module)
{
  static struct p11trace_gate gates[P11T_SETS];
  static _Atomic unsigned used;
  void *handle = dlopen(module, RTLD_NOW | RTLD_LOCAL);
  unsigned place = used++;
  if (handle == NULL || place >= P11T_SETS) return &gates[P11T_SETS - 1];
  struct p11trace_gate *g = &gates[place];
  g->get_function_list = (CK_C_GetFunctionList)p11t_dlsym(handle, "C_GetFunctionList");
  g->get_interface_list = (CK_C_GetInterfaceList)p11t_dlsym(handle, "C_GetInterfaceList");
  g->get_interface = (CK_C_GetInterface)p11t_dlsym(handle, "C_GetInterface");
  return g;
}

static const struct p11trace_gate nothing; /* all NULL: said already */

EXPORT const struct p11trace_gate *p11trace_attach(unsigned abi, const char *library)
{
  static struct p11t_conf conf; /* 20 KB: not for a host's stack; attaching happens one at a time */
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  char module[PATH_MAX] = "";
  if (abi != P11T_STUB_ABI) return NULL;
  if (library == NULL) return &nothing;
  pthread_mutex_lock(&mutex);
  bool read = p11t_conf_read(library, &conf);
  if (read) {
    p11t_options_once(&conf);
    const char *name = p11t_conf_get(&conf, "module");
    if (name) strncat(module, name, sizeof module - 1);
  }
  pthread_mutex_unlock(&mutex);
  if (!read)
    p11t_say("%s: %s", conf.path, conf.problem);
  else if (module[0] == 0)
    p11t_say("%s: has no `module`: run `p11trace wrap` again", conf.path);
  if (module[0] == 0) return &nothing;
  if (p11t_options.off) return untraced(module);
  struct p11t_target *t = p11t_target_load(module, library);
  return t ? &t->gate : &nothing;
}

static bool is_target(const struct p11trace_gate *gate)
{
  return gate->module != 0;
}

EXPORT void p11trace_detach(const struct p11trace_gate *gate)
{
  if (!is_target(gate)) return; /* nothing, or untraced: loaded for good */
  p11t_target_unload((struct p11t_target *)(void *)((char *)(uintptr_t)gate - offsetof(struct p11t_target, gate)));
}

/* --- the recorder as a module of its own: P11TRACE_MODULE, libp11trace.conf, or C_Initialize's parameters --------
 * Preloaded, a program that is linked to a module directly calls these instead of the module's. */

static const struct p11trace_gate *own_gate = &nothing;

static void attach_self(void)
{
  static struct p11t_conf conf;
  Dl_info self = {.dli_fname = ""};
  dladdr(p11trace_version, &self);
  const char *module = secure_getenv("P11TRACE_MODULE");
  bool read = p11t_conf_read(self.dli_fname, &conf);
  if (!read) conf.count = 0;
  p11t_options_once(&conf);
  if (module == NULL || *module == 0) module = p11t_conf_get(&conf, "module");
  if (module && p11t_options.off) {
    own_gate = untraced(module);
    return;
  }
  struct p11t_target *t = p11t_target_load(module, self.dli_fname);
  if (t) own_gate = &t->gate;
}

static const struct p11trace_gate *self_gate(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, attach_self);
  return own_gate;
}

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  p11t_any_function meant = p11t_preload_meant(P11T_ENTRY_FUNCTION_LIST, __builtin_return_address(0));
  if (meant != NULL) return ((CK_C_GetFunctionList)meant)(ppFunctionList);
  const struct p11trace_gate *g = self_gate();
  return g->get_function_list ? g->get_function_list(ppFunctionList) : CKR_GENERAL_ERROR;
}

EXPORT CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
  p11t_any_function meant = p11t_preload_meant(P11T_ENTRY_INTERFACE_LIST, __builtin_return_address(0));
  if (meant != NULL) return ((CK_C_GetInterfaceList)meant)(pInterfacesList, pulCount);
  const struct p11trace_gate *g = self_gate();
  return g->get_interface_list ? g->get_interface_list(pInterfacesList, pulCount) : CKR_GENERAL_ERROR;
}

EXPORT CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                            CK_FLAGS flags)
{
  p11t_any_function meant = p11t_preload_meant(P11T_ENTRY_INTERFACE, __builtin_return_address(0));
  if (meant != NULL) return ((CK_C_GetInterface)meant)(pInterfaceName, pVersion, ppInterface, flags);
  const struct p11trace_gate *g = self_gate();
  return g->get_interface ? g->get_interface(pInterfaceName, pVersion, ppInterface, flags) : CKR_GENERAL_ERROR;
}
