/* Modules that are traced: loading, binding to wrapper sets, the lists that the host gets. */
#ifndef LOAD_TARGET_H
#define LOAD_TARGET_H

#include <limits.h> /* PATH_MAX */
#include <stdbool.h>

#include "shim/load/gate.h"
#include "shim/load/sets.h"

struct p11t_target {
  bool used;
  bool lazy;           /* known only from the parameters of C_Initialize, and not loaded yet */
  bool initialized;    /* C_Initialize was called: its parameters were applied */
  bool preloaded;      /* the host's own: not ours to unload, and its parameters are none of our business */
  unsigned module;     /* id in the trace */
  unsigned entry;      /* the set of its exported entry points */
  void *handle;        /* dlopen's */
  bool has_interfaces; /* it exports C_GetInterface */
  char path[PATH_MAX], stub[PATH_MAX];
  struct p11trace_gate gate;
};

/* Loads `path` and binds its entry points to a wrapper set. `path` NULL: a target that will be named in C_Initialize. NULL
 * after one line to stderr when it cannot be loaded, is no PKCS #11 module or all sets are in use. */
struct p11t_target *p11t_target_load(const char *path, const char *stub);

/* Loads a lazy target, now that its path is known, and binds all functions of its 2.40 list. */
CK_RV p11t_target_load_late(struct p11t_target *t, const char *path);

/* Unloads the target and frees its sets and lists. */
void p11t_target_unload(struct p11t_target *t);

/* The wrapped form of a function list of the target, always the same for the same list; the list itself when its layout is
 * not known. `name` is the interface's name, NULL from C_GetFunctionList. */
void *p11t_list_wrapped(struct p11t_target *t, void *list, const char *name, CK_FLAGS flags);

/* Number of functions in the layout of a list of this version: 68, 92, 104, or 0 when the version is not known. */
unsigned p11t_list_functions(const CK_VERSION *version);

/* Forgets the wrapped lists of an unloaded target. */
void p11t_lists_forget(const struct p11t_target *t);

/* A free target, taken; NULL when all are in use. Under p11t_modules_lock(), as the three below. */
struct p11t_target *p11t_target_new(void);

/* A set for the target in which the functions can be bound: one of its own without a conflict, or a free one. Returns its
 * number, or -1 when all are in use. `functions` entries of `list`; NULL ones stay unbound. */
int p11t_set_bind(struct p11t_target *t, const p11t_any_function *list, unsigned functions);

/* A set of the target's that is new; -1 when all are in use. */
int p11t_set_new(struct p11t_target *t);

/* Says whose calls those of a set are: a module's id. */
void p11t_set_module(int set, unsigned module);

/* The exported functions that hand out lists, in a set: C_GetFunctionList, C_GetInterfaceList, C_GetInterface. */
void p11t_set_entries(int set, const p11t_any_function real[3]);

/* Options of the first library that is attached hold for the process, the environment over them. `conf` NULL: there is no
 * file. */
struct p11t_conf;
void p11t_options_once(const struct p11t_conf *conf);

/* The recorder's own export, by whose address it knows itself. */
extern const char p11trace_version[];

#endif
