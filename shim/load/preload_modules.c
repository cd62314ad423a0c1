/* Modules that the host loaded itself and whose entry points it looked up. A module is a loaded object: its C_, NSC_ and FC_
 * entry points belong to one target, so that one list of functions has one wrapper whoever asks for it, because NSS
 * compares pointers. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "shim/load/preload.h"
#include "shim/load/target.h"
#include "shim/record/attached.h"
#include "shim/record/guard.h"
#include "shim/record/objects.h"
#include "shim/record/say.h"
#include "shim/trace/format.h"

const char *const p11t_entry_names[P11T_PREFIXES][P11T_ENTRIES] = {
    {"C_GetFunctionList",   "C_GetInterfaceList",   "C_GetInterface"  },
    {"NSC_GetFunctionList", "NSC_GetInterfaceList", "NSC_GetInterface"},
    {"FC_GetFunctionList",  "FC_GetInterfaceList",  "FC_GetInterface" },
};
static const unsigned functions[P11T_ENTRIES] = {P11_F_C_GetFunctionList, P11_F_C_GetInterfaceList,
                                                 P11_F_C_GetInterface};

static struct found {
  struct p11t_target *target; /* NULL: free */
  uint64_t base;
  bool seen;
  int set[P11T_PREFIXES]; /* of its entry points, -1 none yet */
  p11t_any_function real[P11T_PREFIXES][P11T_ENTRIES];
} found[P11T_SETS];

/* What the loader knows of a function's object. */
struct object {
  uint64_t base;
  const ElfW(Dyn) * dynamic;
  char path[PATH_MAX];
};

static bool object_of(p11t_any_function f, struct object *o)
{
  Dl_info info;
  struct link_map *map = NULL;
  if (dladdr1((const void *)(uintptr_t)f, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || map == NULL) return false;
  o->base = map->l_addr;
  o->dynamic = map->l_ld;
  /* The program itself has no name there. */
  snprintf(o->path, sizeof o->path, "%s", map->l_name[0] != '\0' ? map->l_name : info.dli_fname);
  return true;
}

static p11t_any_function known(p11t_any_function real)
{
  for (int i = 0; i < P11T_SETS; i++) {
    if (found[i].target == NULL) continue;
    for (unsigned k = 0; k < P11T_PREFIXES * P11T_ENTRIES; k++) {
      unsigned prefix = k / P11T_ENTRIES, entry = k % P11T_ENTRIES;
      if (found[i].set[prefix] >= 0 && found[i].real[prefix][entry] == real)
        return p11t_wrappers[found[i].set[prefix]][functions[entry]];
    }
  }
  return NULL;
}

static struct found *make(const struct object *o)
{
  struct found *place = NULL;
  for (int i = 0; i < P11T_SETS; i++) {
    if (found[i].target == NULL) {
      if (place == NULL) place = &found[i];
    } else if (found[i].base == o->base) {
      return &found[i];
    }
  }
  struct p11t_target *t = place != NULL ? p11t_target_new() : NULL;
  if (t == NULL) return NULL;
  snprintf(t->path, sizeof t->path, "%s", o->path);
  t->preloaded = true;
  t->module = p11t_module_attached(t->path, "", P11T_HOW_PRELOADED, o->base);
  *place = (struct found){
      .target = t, .base = o->base, .set = {-1, -1, -1}
  };
  return place;
}

/* Under the lock. False: there is no free set. */
static bool bind(struct found *f, const struct object *o, unsigned prefix, unsigned entry, p11t_any_function real)
{
  if (f->set[prefix] < 0) {
    f->set[prefix] = p11t_set_new(f->target);
    if (f->set[prefix] < 0) return false;
    for (unsigned e = 0; e < P11T_ENTRIES; e++)
      f->real[prefix][e] = p11t_symbol_in(o->base, o->dynamic, p11t_entry_names[prefix][e]);
  }
  f->real[prefix][entry] = real;
  p11t_set_entries(f->set[prefix], f->real[prefix]);
  return true;
}

p11t_any_function p11t_preload_wrapper(p11t_any_function real, unsigned prefix, unsigned entry)
{
  static bool said;
  struct object o;
  p11t_preload_sweep();
  p11t_modules_lock();
  p11t_any_function wrapper = known(real);
  p11t_modules_unlock();
  if (wrapper != NULL) return wrapper;
  if (!object_of(real, &o)) return real;
  /* The recorder given as a module of its own, or a stub: that target is attached already. */
  if (p11t_symbol_in(o.base, o.dynamic, "p11trace_version") || p11t_symbol_in(o.base, o.dynamic, "p11trace_stub"))
    return real;
  p11t_objects_refresh();
  p11t_modules_lock();
  wrapper = known(real);
  if (wrapper == NULL) {
    struct found *f = make(&o);
    if (f != NULL && bind(f, &o, prefix, entry, real)) {
      wrapper = p11t_wrappers[f->set[prefix]][functions[entry]];
    } else {
      if (!said) p11t_say("%s: %d modules are traced already: this one and what follows is not", o.path, P11T_SETS);
      said = true;
    }
  }
  p11t_modules_unlock();
  return wrapper != NULL ? wrapper : real;
}

/* --- unloading ----------------------------------------------------------------------------------------------------- */

static unsigned long long seen_subs;

static int mark(struct dl_phdr_info *info, size_t size, void *moved)
{
  (void)size;
  if (!*(bool *)moved) {
    if (info->dlpi_subs == seen_subs) return 1;
    seen_subs = info->dlpi_subs;
    *(bool *)moved = true;
  }
  for (int i = 0; i < P11T_SETS; i++) {
    struct found *f = &found[i];
    if (f->target == NULL || f->base != info->dlpi_addr) continue;
    f->seen = info->dlpi_name[0] == '\0' || strcmp(info->dlpi_name, f->target->path) == 0;
  }
  return 0;
}

void p11t_preload_sweep(void)
{
  struct p11t_target *gone[P11T_SETS];
  int n = 0;
  bool moved = false, any = false;
  p11t_modules_lock();
  for (int i = 0; i < P11T_SETS; i++) {
    found[i].seen = false;
    any |= found[i].target != NULL;
  }
  if (any) dl_iterate_phdr(mark, &moved);
  for (int i = 0; i < P11T_SETS && moved; i++) {
    if (found[i].target == NULL || found[i].seen) continue;
    gone[n++] = found[i].target;
    found[i].target = NULL;
  }
  p11t_modules_unlock();
  for (int i = 0; i < n; i++) p11t_target_unload(gone[i]);
}
