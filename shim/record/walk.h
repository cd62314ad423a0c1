/* Call stacks: from a wrapper's frame upwards by the tables of call frame information.
 *
 * Why not libunwind: its fast walk (unw_backtrace 1.6) keeps what it learnt of code that was unloaded, with no way to make
 * it forget, and then reads wherever a register points; it allocates in each thread's first use, takes locks that a fork's
 * child inherits, and tests memory with system calls that sandboxes forbid. This one reads the thread's own stack only,
 * takes no lock, and sees at each walk that every file it passes through is the one it knows. */
#ifndef RECORD_WALK_H
#define RECORD_WALK_H

#include "shim/record/cfi.h"
#include "shim/record/objects.h"

#define P11T_DEPTH 64
#define P11T_RULE_SETS 512
#define P11T_RULE_WAYS 4 /* one line of the processor's cache */

/* What a thread knows of code and of its stack. All zero: nothing. */
struct p11t_walker {
  struct p11t_object_table objects;
  uint64_t low, high;    /* this part of the stack can be read */
  uint64_t walks;        /* so far */
  struct p11t_gone gone; /* files that turned out to be gone: whoever looks at it clears it */
  struct p11t_rule rule[P11T_RULE_SETS][P11T_RULE_WAYS] __attribute__((aligned(64))); /* by pc, the latest first */
  uint64_t address[P11T_DEPTH]; /* the latest walk: return addresses, the caller's first */
  int16_t object[P11T_DEPTH];   /* places in objects; -1: of no file */
  unsigned depth;
  uint32_t hash;
};

/* Walks up from the wrapper whose frame this is; `caller` is its return address. */
void p11t_walk(struct p11t_walker *w, const void *frame, uint64_t caller);

/* Forgets what is known of code. */
void p11t_walk_forget(struct p11t_walker *w);

/* The stack belongs to another thread now. */
void p11t_walk_elsewhere(struct p11t_walker *w);

#endif
