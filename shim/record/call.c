/* The two halves of a recorded call. No lock, no system call, no allocation unless a slot is full or a thread is new. */
#include "shim/record/call.h"

#include "shim/record/guard.h"
#include "shim/record/options.h"
#include "shim/record/probe.h"
#include "shim/record/stack.h"
#include "shim/record/trigger.h"

/* "Inside the recorder" is a frame address, not a flag. A call that finds it set by a frame below its own has interrupted
 * a record (a signal handler): it passes. One that finds it set by a frame above, which is dead then, knows that the
 * record was jumped out of. */
static inline bool is_nested(const struct p11t_thread *t, const void *frame)
{
  const void *busy = __atomic_load_n(&t->busy, __ATOMIC_RELAXED);
  return __builtin_expect(busy != NULL, 0) && (uintptr_t)frame < (uintptr_t)busy;
}

static inline void set_busy(struct p11t_thread *t, void *frame)
{
  __atomic_store_n(&t->busy, frame, __ATOMIC_RELAXED);
  atomic_signal_fence(memory_order_seq_cst);
}

static inline void clear_busy(struct p11t_thread *t)
{
  atomic_signal_fence(memory_order_seq_cst);
  __atomic_store_n(&t->busy, NULL, __ATOMIC_RELEASE);
}

static inline void time_if_late(struct p11t_thread *t, uint64_t now)
{
  if (__builtin_expect(now - t->pair_ticks > P11T_TIME_EVERY, 0)) p11t_thread_time(t);
}

/* Flags are 0 and known when this is compiled but for calls that are watched and those that are ours; ours have no caller. */
static inline __attribute__((always_inline)) void record_enter(struct p11t_call *call, unsigned function,
                                                               unsigned module, const uint64_t *v, void *caller,
                                                               void *frame, uint8_t flags)
{
  struct p11t_thread *t = p11t_self;
  uint64_t epoch = atomic_load_explicit(&p11t_guard->epoch, memory_order_relaxed);
  if (__builtin_expect(t == NULL || t->epoch != epoch, 0)) {
    t = p11t_thread_enter();
    if (t == NULL) {
      call->watch.on = false;
      return;
    }
    epoch = t->epoch;
  }
  if (is_nested(t, frame)) {
    atomic_fetch_add_explicit(&p11t_passed, 1, memory_order_relaxed);
    call->watch.on = false;
    return;
  }
  set_busy(t, frame);
  if ((size_t)(t->end - t->p) < P11T_ROOM) p11t_flush(t); /* before the stack's index is looked up, not after */
  uint16_t stack = 0;
  if (flags != 0 && caller == NULL)
    call->caller_object = -1;
  else
    stack = p11t_stack_at_enter(t, function, (uint64_t)(uintptr_t)caller, frame, &call->caller_object);
  struct p11t_writer w;
  uint64_t number = p11t_next_number();
  p11t_begin(&w, t, P11T_ENTER, number, 0);
  w.head.flags |= flags;
  w.head.function = (uint16_t)function;
  w.head.module = (uint16_t)module;
  w.head.stack = stack;
  w.head.aux = (uint64_t)(uintptr_t)frame >> 4;
  call->epoch = epoch;
  call->function = (uint16_t)function;
  call->module = (uint16_t)module;
  call->frame = frame;
  call->caller = caller;
  p11t_encode_enter(&w, &p11_functions[function], v, call);
  w.head.time = p11t_ticks();
  p11t_commit(&w);
  time_if_late(t, w.head.time);
  if (__builtin_expect(p11t_process.aside, 0)) p11t_aside_enter(t, call, w.head.time);
  call->number = number;
  clear_busy(t);
}

/* With probe= every call comes this way, recorded or not: `number` stays 0, so that its LEAVE does too. */
static __attribute__((noinline, cold)) void enter_aside(struct p11t_call *call, unsigned function, unsigned module,
                                                        const uint64_t *v, void *caller, void *frame)
{
  struct p11t_watch *watch = &call->watch;
  watch->on = false;
  if (module == 0 || (p11t_options.probe & P11T_PROBE_CALLS) == 0) return;
  *watch = (struct p11t_watch){.set = (uint16_t)(module >> 16)};
  call->function = (uint16_t)function;
  call->module = (uint16_t)module;
  p11t_probe_before(call, v, frame);
  if (p11t_options.only[function >> 6] >> (function & 63) & 1)
    record_enter(call, function, module, v, caller, frame, watch->flags);
  watch->number = call->number;
  watch->on = true;
  call->number = 0;
}

void p11t_enter(struct p11t_call *call, unsigned function, unsigned module, const uint64_t *v, void *caller,
                void *frame)
{
  call->number = 0;
  if (__builtin_expect(module == 0 || !(p11t_options.plain[function >> 6] >> (function & 63) & 1), 0)) {
    enter_aside(call, function, module, v, caller, frame);
    return;
  }
  record_enter(call, function, module, v, caller, frame, 0);
}

static inline __attribute__((always_inline)) CK_RV record_leave(struct p11t_call *call, const uint64_t *v, CK_RV rv,
                                                                uint8_t flags)
{
  uint64_t now = p11t_ticks();
  struct p11t_thread *t = p11t_self;
  uint64_t epoch = atomic_load_explicit(&p11t_guard->epoch, memory_order_relaxed);
  if (__builtin_expect(epoch != call->epoch || t == NULL || t->epoch != epoch, 0)) {
    /* A fork inside the call (the page was wiped), the end of recording, a changed clock, or another thread's stack. */
    if (epoch >> 32 != call->epoch >> 32) return rv;
    t = p11t_thread_enter();
    if (t == NULL) return rv;
    now = p11t_ticks();
  }
  if (is_nested(t, call->frame)) {
    atomic_fetch_add_explicit(&p11t_dropped, 1, memory_order_relaxed);
    return rv;
  }
  set_busy(t, call->frame);
  p11t_stack_at_leave(t, call->caller_object, now);
  uint16_t stack = 0;
  if (__builtin_expect(rv != CKR_OK, 0) && p11t_options.stack == P11T_STACK_ERROR &&
      (flags == 0 || call->caller != NULL))
    stack = p11t_stack_full(t, (uint64_t)(uintptr_t)call->caller, call->frame);
  struct p11t_writer w;
  p11t_begin(&w, t, P11T_LEAVE, p11t_next_number(), now);
  w.head.flags |= flags;
  w.head.function = call->function;
  w.head.module = call->module;
  w.head.stack = stack;
  w.head.aux = call->number;
  p11t_encode_leave(&w, &p11_functions[call->function], v, call, rv);
  p11t_commit(&w);
  time_if_late(t, now);
  if (__builtin_expect(p11t_process.aside, 0)) p11t_aside_leave(t, call, rv, now, flags);
  clear_busy(t);
  return rv;
}

static __attribute__((noinline, cold)) CK_RV leave_aside(struct p11t_call *call, const uint64_t *v, CK_RV rv)
{
  if (!call->watch.on) return rv;
  call->number = call->watch.number;
  if (call->number != 0) record_leave(call, v, rv, call->watch.flags);
  p11t_probe_after(call, v, rv);
  return rv;
}

CK_RV p11t_leave(struct p11t_call *call, const uint64_t *v, CK_RV rv)
{
  if (__builtin_expect(call->number == 0, 0)) return leave_aside(call, v, rv);
  return record_leave(call, v, rv, 0);
}

bool p11t_probe_enter(struct p11t_call *call, unsigned function, unsigned module, const uint64_t *v, void *frame)
{
  call->number = 0;
  record_enter(call, function, module, v, NULL, frame, P11T_PROBE);
  return call->number != 0;
}

void p11t_probe_leave(struct p11t_call *call, const uint64_t *v, CK_RV rv)
{
  record_leave(call, v, rv, P11T_PROBE);
}
