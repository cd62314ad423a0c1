/* Function lists as the host gets them: same version, same NULL entries, our wrappers in the others. */
#include <string.h>

#include "shim/load/preload.h"
#include "shim/load/target.h"
#include "shim/record/attached.h"
#include "shim/record/guard.h"
#include "shim/record/objects.h"
#include "shim/record/options.h"
#include "shim/record/say.h"

/* Every list is a CK_VERSION, padding, and function pointers in the order of functions.def. */
struct any_list {
  CK_VERSION version;
  p11t_any_function function[P11_FUNCTIONS];
};
_Static_assert(sizeof(struct any_list) == sizeof(CK_FUNCTION_LIST_3_2), "layout of 3.2");
_Static_assert(offsetof(struct any_list, function[68]) == sizeof(CK_FUNCTION_LIST), "layout of 2.40");
_Static_assert(offsetof(struct any_list, function[92]) == sizeof(CK_FUNCTION_LIST_3_0), "layout of 3.0");

/* attach.c */
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList);
CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount);
CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                     CK_FLAGS flags);

#define MAX_LISTS 128

static struct wrapped {
  const struct p11t_target *owner; /* NULL: free */
  const void *real;
  struct any_list list;
} wrapped[MAX_LISTS];
static int wrapped_used; /* places that were ever used */

/* Functions whose wrapper has one of ours between it and the module; they are bound when the target is loaded. */
static bool is_thunked(unsigned function)
{
  return function == P11_F_C_GetFunctionList || function == P11_F_C_GetInterfaceList ||
         function == P11_F_C_GetInterface;
}

unsigned p11t_list_functions(const CK_VERSION *version)
{
  if (version->major == 2) return 68;
  if (version->major == 3 && version->minor < 2) return 92;
  if (version->major == 3 && version->minor == 2) return 104;
  return 0;
}

void p11t_set_module(int set, unsigned module)
{
  p11t_sets[set].module = module != 0 ? module | (unsigned)set << 16 : 0;
}

int p11t_set_new(struct p11t_target *t)
{
  for (int s = 0; s < P11T_SETS; s++) {
    struct p11t_set *p = &p11t_sets[s];
    if (p->owner != NULL) continue;
    memset(p->real, 0, sizeof p->real);
    memset(p->target, 0, sizeof p->target);
    p->owner = t;
    p11t_set_module(s, t->module);
    return s;
  }
  return -1;
}

void p11t_set_entries(int set, const p11t_any_function real[3])
{
  static const unsigned function[] = {P11_F_C_GetFunctionList, P11_F_C_GetInterfaceList, P11_F_C_GetInterface};
  struct p11t_set *p = &p11t_sets[set];
  for (unsigned i = 0; i < 3; i++) {
    p->real[function[i]] = real[i];
    p->target[function[i]] = p11t_thunks[set][P11T_THUNK_FUNCTION_LIST + i];
  }
}

/* Preloaded, our exports stand before a module's own also where its list takes their addresses. */
static bool is_our_export(p11t_any_function f)
{
  return p11t_preloaded && (f == (p11t_any_function)C_GetFunctionList || f == (p11t_any_function)C_GetInterfaceList ||
                            f == (p11t_any_function)C_GetInterface);
}

/* The module's own function: where its list has our export, what is known from another of its sets. */
static p11t_any_function own_function(const struct p11t_target *t, p11t_any_function given, unsigned i)
{
  for (int s = 0; s < P11T_SETS && is_our_export(given); s++) {
    if (p11t_sets[s].owner == t && p11t_sets[s].real[i] != NULL && !is_our_export(p11t_sets[s].real[i]))
      given = p11t_sets[s].real[i];
  }
  return given;
}

int p11t_set_bind(struct p11t_target *t, const p11t_any_function *list, unsigned functions)
{
  int set = -1;
  for (int s = 0; s < P11T_SETS && set < 0; s++) {
    if (p11t_sets[s].owner != t) continue;
    bool conflict = false;
    for (unsigned i = 0; i < functions && !conflict; i++) {
      conflict = !is_thunked(i) && list[i] && p11t_sets[s].real[i] && p11t_sets[s].real[i] != list[i];
    }
    if (!conflict) set = s;
  }
  if (set < 0) set = p11t_set_new(t);
  if (set < 0) return -1;
  struct p11t_set *p = &p11t_sets[set];
  for (unsigned i = 0; i < functions; i++) {
    if (list[i] == NULL || (is_thunked(i) && p->real[i])) continue;
    p->real[i] = own_function(t, list[i], i);
    p->target[i] = i == P11_F_C_Initialize && !t->preloaded ? p11t_thunks[set][P11T_THUNK_INITIALIZE]
                   : i == P11_F_C_OpenSession && p11t_options.probe & P11T_PROBE_NOTIFY
                       ? p11t_thunks[set][P11T_THUNK_OPEN_SESSION]
                   : i == P11_F_C_GetFunctionList  ? p11t_thunks[set][P11T_THUNK_FUNCTION_LIST]
                   : i == P11_F_C_GetInterfaceList ? p11t_thunks[set][P11T_THUNK_INTERFACE_LIST]
                   : i == P11_F_C_GetInterface     ? p11t_thunks[set][P11T_THUNK_INTERFACE]
                                                   : p->real[i];
  }
  return set;
}

static struct wrapped *find_or_make(const struct p11t_target *t, const void *real)
{
  struct wrapped *place = NULL;
  for (int i = 0; i < wrapped_used; i++) {
    if (wrapped[i].owner == t && wrapped[i].real == real) return &wrapped[i];
    if (wrapped[i].owner == NULL && place == NULL) place = &wrapped[i];
  }
  if (place == NULL && wrapped_used < MAX_LISTS) place = &wrapped[wrapped_used++];
  return place;
}

void *p11t_list_wrapped(struct p11t_target *t, void *given, const char *name, CK_FLAGS flags)
{
  struct any_list *real = given;
  uint8_t nulls[16] = {0};
  if (real == NULL) return NULL;
  bool standard = name == NULL || strcmp(name, "PKCS 11") == 0;
  unsigned functions = standard ? p11t_list_functions(&real->version) : 0;
  void *answer = real;
  p11t_modules_lock();
  struct wrapped *w = functions ? find_or_make(t, real) : NULL;
  int set = w ? p11t_set_bind(t, real->function, functions) : -1;
  if (set >= 0) {
    memset(&w->list, 0, sizeof w->list);
    w->list.version = real->version;
    for (unsigned i = 0; i < functions; i++) {
      if (real->function[i])
        w->list.function[i] = p11t_wrappers[set][i];
      else
        nulls[i / 8] |= (uint8_t)(1u << i % 8);
    }
    w->owner = t;
    w->real = real;
    answer = &w->list;
  }
  p11t_modules_unlock();
  if (functions && set < 0) {
    p11t_say("%s: more than %d function lists are in use: calls through this one are not recorded", t->path, P11T_SETS);
    functions = 0;
  } else if (standard && functions == 0) {
    p11t_say("%s: interface version %u.%u is newer than this recorder: calls through it are not recorded", t->path,
             real->version.major, real->version.minor);
  }
  p11t_objects_refresh();
  p11t_list_given(t->module, name ? name : "", real->version.major, real->version.minor, flags, functions, nulls);
  return answer;
}

void p11t_lists_forget(const struct p11t_target *t)
{
  p11t_modules_lock();
  for (int i = 0; i < wrapped_used; i++) {
    if (wrapped[i].owner == t) wrapped[i].owner = NULL;
  }
  p11t_modules_unlock();
}
