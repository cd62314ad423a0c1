#include "shim/record/ring.h"

#include <string.h>

#include "shim/record/clock.h"
#include "shim/record/guard.h"
#include "shim/record/objects.h"
#include "shim/record/options.h"
#include "shim/record/restate.h"
#include "shim/record/rotate.h"
#include "shim/record/say.h"
#include "shim/record/stack.h"
#include "shim/record/sys.h"
#include "shim/record/trigger.h"
#include "shim/record/writer.h"
#include "shim/trace/frame.h"

/* Full slots, in the order in which they became full, which is that of their last records. */
static struct sealed {
  uint8_t *base;
  uint64_t last; /* number of its last record */
} queue[P11T_MAX_SLOTS];
static unsigned head, sealed;
static uint64_t lost;     /* largest number that was overwritten */
static uint64_t instance; /* p11t_process.instance that all this is of */
static unsigned dumps;
static unsigned turns;     /* since OBJECT records were last asked for */
static uint64_t next_dump; /* monotonic ns */

static void forget_parent(void)
{
  if (instance == p11t_process.instance) return;
  instance = p11t_process.instance;
  head = sealed = dumps = 0;
  lost = next_dump = 0;
}

/* Largest number among the committed records. */
static uint64_t last_number(const uint8_t *base)
{
  uint64_t last = 0;
  for (const uint8_t *p = base + P11T_SLOT_HEAD; p + P11T_RAW <= base + P11T_SLOT_SIZE;) {
    const struct p11t_raw *raw = (const void *)p;
    if (raw->commit == 0) break;
    if (raw->number > last) last = raw->number;
    p += raw->commit;
  }
  return last;
}

static void seal(uint8_t *base)
{
  queue[(head + sealed++) % P11T_MAX_SLOTS] = (struct sealed){base, last_number(base)};
}

static uint32_t places_wanted(void)
{
  uint64_t n = p11t_options.ring / P11T_SLOT_SIZE + P11T_RESTATE_PLACES;
  return n < P11T_MAX_SLOTS ? (uint32_t)n : P11T_MAX_SLOTS;
}

/* Of a thread that has ended and left before the oldest full slot was sealed; NULL when there is none. */
static struct p11t_thread *left_behind(void)
{
  struct p11t_process *p = &p11t_process;
  struct p11t_thread *oldest = NULL;
  for (uint32_t i = 0; i < p->slots; i++) {
    struct p11t_thread *t = &p->thread[i];
    if (!t->owned && t->base != NULL && (oldest == NULL || t->left < oldest->left)) oldest = t;
  }
  return oldest == NULL || (sealed > 0 && queue[head].last < oldest->left) ? NULL : oldest;
}

/* A slot to write in: a new one while the ring may grow, else the oldest. Slots of living threads are never taken, so where
 * there are more threads than slots the ring grows with them. */
static uint8_t *take(const uint8_t *own)
{
  struct p11t_process *p = &p11t_process;
  uint8_t *base = p->places < places_wanted() ? p11t_place_grow() : NULL;
  if (base != NULL) return base;
  struct p11t_thread *ended = left_behind();
  uint64_t last;
  if (ended != NULL) {
    base = ended->base;
    last = last_number(base);
    ended->base = ended->p = ended->end = NULL;
    ended->fill++;
  } else {
    if (sealed == 0) return p11t_place_grow();
    if (queue[head].base == own && (base = p11t_place_grow()) != NULL) return base;
    base = queue[head].base;
    last = queue[head].last;
    head = (head + 1) % P11T_MAX_SLOTS;
    sealed--;
  }
  if (last > lost) lost = last;
  p->head->complete_from = lost + 1; /* first, or a reader would miss what is about to go */
  return base;
}

/* Each fill says whose it is and what time it is: the one before may be gone. */
static void introduce(struct p11t_thread *t)
{
  p11t_thread_name(t);
  p11t_thread_time(t);
}

void p11t_ring_turn(struct p11t_thread *t)
{
  forget_parent();
  p11t_restate_in_ring();
  if (++turns > places_wanted() / 2) { /* the ring always holds those of one half of it */
    p11t_objects_forget();
    turns = 0;
  }
  uint8_t *own = t->base;
  p11t_stacks_settle(t);
  seal(own);
  uint8_t *base = take(own);
  t->fill++;
  t->stacks = 0;
  p11t_place_begin(t, base, t->fill);
  introduce(t);
}

bool p11t_ring_take(struct p11t_thread *t)
{
  forget_parent();
  uint8_t *base = take(NULL);
  if (base == NULL) return false;
  t->stacks = 0;
  p11t_place_begin(t, base, t->fill);
  return true;
}

/* The committed records of a slot, which its thread may be adding to. */
static size_t copy(const uint8_t *base, uint8_t *to)
{
  size_t at = P11T_SLOT_HEAD;
  memcpy(to, base, P11T_SLOT_HEAD);
  while (at + P11T_RAW <= P11T_SLOT_SIZE) {
    uint32_t commit = atomic_load_explicit((const _Atomic uint32_t *)(const void *)(base + at), memory_order_acquire);
    if (commit == 0) break;
    memcpy(to + at + 4, base + at + 4, commit - 4);
    memcpy(to + at, &commit, 4);
    at += commit;
  }
  return at - P11T_SLOT_HEAD;
}

static bool write_slot(const uint8_t *base)
{
  struct p11t_scratch *s = &p11t_scratch;
  uint8_t *records = s->spare;
  size_t size = copy(base, records);
  const struct p11t_slot_head *slot = (const void *)records;
  if (slot->index == P11T_SLOT_TABLES || slot->generation == 0) return true;
  struct p11t_info info = {.kind = P11T_FRAME_EVENTS,
                           .clock = p11t_process.head_counter ? P11T_CLOCK_TSC : P11T_CLOCK_MONOTONIC,
                           .slot = (uint16_t)slot->index,
                           .tid = slot->tid,
                           .generation = slot->generation};
  size_t n = p11t_frame_build(s->content, s->columns, records + P11T_SLOT_HEAD, size, &info);
  return n == 0 || p11t_write_frame(P11T_FRAME_EVENTS, &info, s->content, n, P11T_LEVEL_FULL);
}

/* The file of the first dump was opened with the process, before a sandbox could forbid it; its HEAD knew nothing yet. */
static bool begin_dump(void)
{
  struct p11t_process *p = &p11t_process;
  if (dumps > 0) return p11t_next_file(lost + 1, NULL);
  if (!p11t_output_check(&p->trace)) return false;
  p->head->trace_end = 0;
  sys_ftruncate(p->trace.fd, 0);
  long r = p11t_begin_file(lost + 1, 1);
  return r == 0 && p11t_restate();
}

/* One file with all that there is. The lock is held all the while: a thread that needs another slot waits, or it would take
 * one that is not written yet. */
static void dump(const char *reason, const char *trigger)
{
  struct p11t_process *p = &p11t_process;
  p->retry_at = 0;
  p->records = 0;
  p11t_restate_in_ring();
  bool fine = begin_dump();
  dumps += fine;
  for (unsigned i = 0; i < sealed && fine; i++) fine = write_slot(queue[(head + i) % P11T_MAX_SLOTS].base);
  for (uint32_t i = 0; i < p->slots && fine; i++) {
    if (p->thread[i].base != NULL) fine = write_slot(p->thread[i].base);
  }
  if (fine && p11t_write_end(reason, trigger)) p11t_write_seek_table();
}

void p11t_ring_dump(const char *trigger)
{
  int saved = errno;
  sigset_t old;
  sys_block_signals(&old);
  p11t_lock();
  if (p11t_process.phase == P11T_RUNNING) {
    forget_parent();
    uint64_t now = p11t_monotonic();
    if (now >= next_dump) {
      next_dump = now + p11t_options.dump_every;
      dump("dump", trigger);
    }
  }
  p11t_unlock();
  P11T_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &old, (void *)0, 8);
  errno = saved;
}

void p11t_ring_finish(const char *reason)
{
  struct p11t_process *p = &p11t_process;
  forget_parent();
  if (p11t_options.dump_on.exit || p11t_trigger_pending()) dump(reason, "exit");
  if (dumps > 0) return;
  if (p11t_output_check(&p->trace)) sys_ftruncate(p->trace.fd, 0); /* `p11trace run` removes what is empty */
  if (!p11t_guard->reserved) p11t_remove(&p->trace);
}
