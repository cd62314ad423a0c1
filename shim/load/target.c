#include "shim/load/target.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "shim/load/preload.h"
#include "shim/record/attached.h"
#include "shim/record/guard.h"
#include "shim/record/objects.h"
#include "shim/record/options.h"
#include "shim/record/say.h"
#include "shim/record/sessions.h"
#include "shim/trace/format.h"

static struct p11t_target targets[P11T_SETS];

struct p11t_set p11t_sets[P11T_SETS];

static CK_RV not_initialized(void)
{
  return CKR_CRYPTOKI_NOT_INITIALIZED;
}
static CK_RV not_supported(void)
{
  return CKR_FUNCTION_NOT_SUPPORTED;
}

struct p11t_target *p11t_target_new(void)
{
  struct p11t_target *t = NULL;
  for (int i = 0; i < P11T_SETS && t == NULL; i++) {
    if (!targets[i].used) t = &targets[i];
  }
  if (t != NULL) {
    memset(t, 0, sizeof *t);
    t->used = true;
  }
  return t;
}

static struct p11t_target *free_target(void)
{
  p11t_modules_lock();
  struct p11t_target *t = p11t_target_new();
  p11t_modules_unlock();
  return t;
}

static uint64_t base_of(void *handle)
{
  struct link_map *map = NULL;
  return handle != NULL && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 ? map->l_addr : 0;
}

/* Opens the library as its host would have. No lock of ours is held: its constructors may do anything. */
static void *open_module(const char *path)
{
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    p11t_say("%s: cannot be loaded: %s: name the vendor's library", path, dlerror());
  } else if (p11t_dlsym(handle, "p11trace_attach") != NULL) {
    p11t_say("%s: is the recorder itself: name the vendor's library", path);
  } else if (p11t_dlsym(handle, "C_GetFunctionList") == NULL && p11t_dlsym(handle, "C_GetInterface") == NULL) {
    p11t_say("%s: is not a PKCS #11 module: it has neither C_GetFunctionList nor C_GetInterface", path);
  } else {
    return handle;
  }
  if (handle != NULL) dlclose(handle);
  return NULL;
}

/* Wrappers of the exported entry points. */
static bool bind_entries(struct p11t_target *t)
{
  p11t_any_function real[P11T_ENTRIES] = {NULL};
  for (unsigned i = 0; i < P11T_ENTRIES && t->handle != NULL; i++)
    real[i] = (p11t_any_function)p11t_dlsym(t->handle, p11t_entry_names[P11T_PREFIX_C][i]);
  p11t_modules_lock();
  int set = p11t_set_new(t);
  if (set >= 0) p11t_set_entries(set, real);
  p11t_modules_unlock();
  if (set < 0) {
    p11t_say("%s: %d modules are traced already: this one is not", t->path, P11T_SETS);
    return false;
  }
  t->entry = (unsigned)set;
  t->gate.get_function_list = (CK_C_GetFunctionList)p11t_wrappers[set][P11_F_C_GetFunctionList];
  t->gate.get_interface_list = (CK_C_GetInterfaceList)p11t_wrappers[set][P11_F_C_GetInterfaceList];
  t->gate.get_interface = (CK_C_GetInterface)p11t_wrappers[set][P11_F_C_GetInterface];
  t->gate.module = t->module;
  return true;
}

struct p11t_target *p11t_target_load(const char *path, const char *stub)
{
  struct p11t_target *t = free_target();
  if (t == NULL) {
    p11t_say("%s: %d modules are traced already: this one is not", path ? path : stub, P11T_SETS);
    return NULL;
  }
  snprintf(t->path, sizeof t->path, "%s", path ? path : "");
  snprintf(t->stub, sizeof t->stub, "%s", stub);
  t->lazy = path == NULL;
  if (path != NULL && (t->handle = open_module(path)) == NULL) {
    t->used = false;
    return NULL;
  }
  p11t_objects_refresh();
  if (!t->lazy) t->module = p11t_module_attached(path, stub, P11T_HOW_CHAINED, base_of(t->handle));
  if (!bind_entries(t)) {
    if (t->handle) dlclose(t->handle);
    t->used = false;
    return NULL;
  }
  if (t->lazy) {
    struct p11t_set *s = &p11t_sets[t->entry];
    for (int i = 0; i < 68; i++) {
      if (s->target[i] == NULL) s->target[i] = (p11t_any_function)not_initialized;
    }
    s->target[P11_F_C_Initialize] = p11t_thunks[t->entry][P11T_THUNK_INITIALIZE];
  }
  return t;
}

CK_RV p11t_target_load_late(struct p11t_target *t, const char *path)
{
  struct p11t_set *s = &p11t_sets[t->entry];
  CK_FUNCTION_LIST_PTR list = NULL;
  void *handle = open_module(path);
  if (handle == NULL) return CKR_GENERAL_ERROR;
  CK_C_GetFunctionList get = (CK_C_GetFunctionList)p11t_dlsym(handle, "C_GetFunctionList");
  CK_RV rv = get ? get(&list) : CKR_FUNCTION_NOT_SUPPORTED;
  if (rv != CKR_OK || list == NULL) {
    p11t_say("%s: gives no function list (0x%lx)", path, rv);
    dlclose(handle);
    return rv == CKR_OK ? CKR_GENERAL_ERROR : rv;
  }
  snprintf(t->path, sizeof t->path, "%s", path);
  t->handle = handle;
  p11t_objects_refresh();
  t->module = p11t_module_attached(path, t->stub, P11T_HOW_CHAINED, base_of(handle));
  p11t_set_module((int)t->entry, t->module);
  t->gate.module = t->module;
#define F_V2_40(name) s->real[P11_F_##name] = (p11t_any_function)list->name;
#define F_V3_0(name)
#define F_V3_2(name)
#define F(name, since, ...) F_##since(name)
#include "shim/spec/functions.def"
  for (int i = 0; i < 68; i++) {
    if (i == P11_F_C_Initialize || i == P11_F_C_GetFunctionList) continue;
    s->target[i] = s->real[i] ? s->real[i] : (p11t_any_function)not_supported;
  }
  if (s->real[P11_F_C_OpenSession] && p11t_options.probe & P11T_PROBE_NOTIFY)
    s->target[P11_F_C_OpenSession] = p11t_thunks[t->entry][P11T_THUNK_OPEN_SESSION];
  t->lazy = false;
  return CKR_OK;
}

void p11t_target_unload(struct p11t_target *t)
{
  p11t_module_detached(t->module);
  if (p11t_options.probe & P11T_PROBE_CALLS) p11t_sessions_forget(t->module);
  p11t_lists_forget(t);
  p11t_modules_lock();
  for (int s = 0; s < P11T_SETS; s++) {
    if (p11t_sets[s].owner != t) continue;
    for (int i = 0; i < P11_FUNCTIONS; i++) {
      if (p11t_sets[s].target[i])
        p11t_sets[s].target[i] = (p11t_any_function)not_initialized; /* for a host that calls what it unloaded */
    }
    p11t_sets[s].owner = NULL;
    p11t_sets[s].module = 0;
  }
  void *handle = t->handle;
  t->used = false;
  p11t_modules_unlock();
  if (handle) dlclose(handle);
}
