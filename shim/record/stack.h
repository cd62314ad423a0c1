/* STACK records: who called. One is written before the first record of a slot's fill that names it, and compared in full
 * with those of the fill: no table is shared (FORMAT.md 3, kind 16). */
#ifndef RECORD_STACK_H
#define RECORD_STACK_H

#include "shim/record/objects.h"
#include "shim/record/options.h"
#include "shim/record/writer.h"

/* Maps the thread's memory for stacks, unless it has some. Under the lock. */
void p11t_stacks_make(struct p11t_thread *t);

/* The slot belongs to another thread from now on. */
void p11t_stacks_handed_on(struct p11t_thread *t);

/* The trace of a process begins: each function and caller is a first one again. Under the lock. */
void p11t_stacks_start(void);

/* Marks the STACK records of one frame of this fill whose file was replaced since as perhaps stale: a call from another file
 * at the same address would have named them. Under the lock, before the fill is written. */
void p11t_stacks_settle(struct p11t_thread *t);

/* Index of the STACK record of the caller alone, when it is not among those that are looked up inline. */
uint16_t p11t_stack_new_caller(struct p11t_thread *t, uint64_t caller, unsigned place);

/* Index of the STACK record of all frames above the wrapper whose frame this is. The slot has P11T_ROOM afterwards. */
uint16_t p11t_stack_full(struct p11t_thread *t, uint64_t caller, const void *frame);

/* Whether this is the process's first call of the function from there. */
bool p11t_stack_is_first(unsigned function, uint64_t caller);

/* Whether a caller's file is what it was when it was named; if not, nothing is remembered. Once files were replaced. */
bool p11t_stack_holds(struct p11t_thread *t, int16_t object);

/* After a call whose ENTER named a caller that it had named before: is that still the file that the trace was told of? */
void p11t_stack_recheck(struct p11t_thread *t, int16_t object, uint64_t now);

/* Ticks (2 to 4 us) in which no file can be unloaded, another be loaded in its place and make a call. */
#define P11T_SOON 1024

static inline void p11t_stack_at_leave(struct p11t_thread *t, int16_t object, uint64_t now)
{
  if (object >= 0 && (object != t->checked || now - t->checked_at > P11T_SOON)) p11t_stack_recheck(t, object, now);
}

/* Index of the STACK record of the caller; 0 when the fill has no more. The slot has P11T_ROOM before and after. */
static inline uint16_t p11t_stack_caller(struct p11t_thread *t, uint64_t caller, int16_t *object)
{
  unsigned place = (unsigned)(caller ^ caller >> 6 ^ caller >> 12) & 63;
  if (__builtin_expect(t->caller[place].address == caller && t->caller[place].fill == t->fill, 1)) {
    *object = t->caller[place].object;
    if (*object < 0 || !atomic_load_explicit(&p11t_objects_replaced, memory_order_relaxed) ||
        p11t_stack_holds(t, *object))
      return t->caller[place].index;
    *object = -1;
  }
  return t->stacks == UINT16_MAX ? 0 : p11t_stack_new_caller(t, caller, place);
}

/* What ENTER names. `object` becomes what p11t_stack_at_leave wants to know. */
static inline uint16_t p11t_stack_at_enter(struct p11t_thread *t, unsigned function, uint64_t caller, const void *frame,
                                           int16_t *object)
{
  *object = -1;
  enum p11t_stack_mode mode = p11t_options.stack;
  if (__builtin_expect(mode <= P11T_STACK_ERROR, 1))
    return mode == P11T_STACK_OFF ? 0 : p11t_stack_caller(t, caller, object);
  if (mode == P11T_STACK_ALL || p11t_stack_is_first(function, caller)) return p11t_stack_full(t, caller, frame);
  return p11t_stack_caller(t, caller, object);
}

#endif
