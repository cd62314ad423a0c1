/* LD_PRELOAD: every lookup of a module's entry points is answered with wrappers.
 *
 *   preload_dlsym.c    the interposed dlsym: what is not ours is left by a jump
 *   preload.c          start-up, the lookups that are ours, dlclose, _exit
 *   preload_modules.c  modules that were found, each bound to its wrapper set
 *   preload_symbols.c  symbol tables read without the loader
 *
 * What is missed: modules loaded by a module that was loaded with RTLD_DEEPBIND, set-id programs (the loader strips
 * LD_PRELOAD), modules linked statically, lookups by dlvsym. */
#ifndef LOAD_PRELOAD_H
#define LOAD_PRELOAD_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/load/sets.h"

/* The three entry points, in the order of p11t_entry_names. */
enum { P11T_ENTRY_FUNCTION_LIST, P11T_ENTRY_INTERFACE_LIST, P11T_ENTRY_INTERFACE, P11T_ENTRIES };
/* By whose names: the standard's, softoken's own, softoken's in FIPS mode. */
enum { P11T_PREFIX_C, P11T_PREFIX_NSC, P11T_PREFIX_FC, P11T_PREFIXES };
extern const char *const p11t_entry_names[P11T_PREFIXES][P11T_ENTRIES];

typedef void *(*p11t_dlsym_function)(void *handle, const char *name);

/* The dlsym after ours: of another preloaded library, or libc's. NULL until p11t_preload_resolve(). */
extern p11t_dlsym_function p11t_next_dlsym;
void p11t_preload_resolve(void);

/* dlsym for the recorder itself, past our own. */
static inline void *p11t_dlsym(void *handle, const char *name)
{
  if (p11t_next_dlsym == NULL) p11t_preload_resolve();
  return p11t_next_dlsym(handle, name);
}

/* True when the recorder is in the global scope, so that its exports stand before everybody's. */
extern bool p11t_preloaded;

/* What dlsym does with a name that begins like one of ours; `caller` is its return address. In two registers: is_ours 0
 * sends the lookup on as it came. */
struct p11t_lookup {
  void *answer;
  uintptr_t is_ours;
};
struct p11t_lookup p11t_preload_lookup(void *handle, const char *name, void *caller);

/* The entry point that a call to our export of that name was meant for; the module's own when it calls itself, else its
 * wrapper. NULL when there is none. */
p11t_any_function p11t_preload_meant(unsigned entry, void *caller);

/* The wrapper of an entry point `real` of a module that the host loaded; `real` itself for our own stubs (their target is
 * attached already) and when all sets are in use. The same for every lookup until the module is unloaded. */
p11t_any_function p11t_preload_wrapper(p11t_any_function real, unsigned prefix, unsigned entry);

/* Forgets modules that the loader has unloaded. */
void p11t_preload_sweep(void);

/* A function that the loaded object itself defines and exports, NULL when it has none of that name. No lock, no error. */
p11t_any_function p11t_symbol_in(uint64_t base, const ElfW(Dyn) * dynamic, const char *name);

#endif
