/* The modules and function lists that are being traced: what MODULE and LIST records say. Kept in memory so that they can be
 * said again at the start of each file (a fork's child has its own). Changed under p11t_lock(). */
#ifndef RECORD_ATTACHED_H
#define RECORD_ATTACHED_H

#include <stddef.h>
#include <stdint.h>

#include "shim/record/process.h"

/* Registers a module and records it if recording runs. `base` is its load address (link_map.l_addr). Returns its id, from 1,
 * or 0 when 65,535 have come and gone. Takes the lock. */
unsigned p11t_module_attached(const char *path, const char *stub, uint8_t how, uint64_t base);

/* The module was unloaded. Takes the lock. */
void p11t_module_detached(unsigned id);

/* A function list of a module was handed out. `functions` is the number of entries of its layout, 0 when the layout is not
 * known; nulls has a bit per function, set where the entry is NULL. Takes the lock. */
void p11t_list_given(unsigned module, const char *name, uint8_t major, uint8_t minor, uint64_t flags,
                     unsigned functions, const uint8_t nulls[16]);

/* Base name of the first module, without ".so"; "module" when there is none. */
const char *p11t_first_module_name(void);

/* Writes MODULE and LIST records for everything that is attached. Called by the thread that starts a trace. */
void p11t_attached_restate(struct p11t_thread *t);

/* Writes them once more, with the numbers that they have in the trace. Under the lock. */
void p11t_attached_again(struct p11t_thread *t);

/* Grows whenever p11t_attached_again would say something else. */
extern _Atomic unsigned p11t_attached_changes;

#endif
