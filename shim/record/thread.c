/* Threads and their slots: the slow way into a record. */
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>

#include "shim/record/attached.h"
#include "shim/record/guard.h"
#include "shim/record/process.h"
#include "shim/record/ring.h"
#include "shim/record/stack.h"
#include "shim/record/sys.h"
#include "shim/record/writer.h"

__thread struct p11t_thread *p11t_self __attribute__((tls_model("initial-exec")));

static pthread_key_t exit_key;
static bool exit_key_made;

/* A thread ends: its slot goes back unflushed, the next thread goes on in it. Destructors that run after this one may make
 * PKCS #11 calls; they get a slot again, and this runs again. */
static void thread_exits(void *unused)
{
  (void)unused;
  struct p11t_thread *t = p11t_self;
  p11t_self = NULL;
  if (t == NULL || t->epoch != atomic_load(&p11t_guard->epoch)) return;
  p11t_lock();
  if (p11t_process.phase == P11T_RUNNING) {
    t->owned = false;
    t->left = atomic_load(&p11t_number);
    ((struct p11t_slot_head *)(void *)t->base)->tid = 0;
  }
  p11t_unlock();
}

/* The first 32 keys of a process need no memory of the C library; a later one would make pthread_setspecific call calloc
 * in a record, so it is not used: the slots of ended threads are then found by their tid. */
__attribute__((constructor)) static void make_exit_key(void)
{
  if (pthread_key_create(&exit_key, thread_exits) != 0) return;
  exit_key_made = exit_key < 32;
  if (!exit_key_made) pthread_key_delete(exit_key);
}

static bool thread_is_gone(uint32_t tid)
{
  int saved = errno;
  bool gone = P11T_SYS(SYS_tgkill, (int)p11t_process.pid, (int)tid, 0) == -ESRCH;
  errno = saved;
  return gone;
}

/* A free slot, a new one, or that of a thread that is gone; NULL when all 1,024 are in use or the live file cannot grow. The
 * expensive half is tried once a second, or each call of a thread without a slot would pay for it. Under the lock. */
static struct p11t_thread *claim_slot(void)
{
  static uint64_t retry_at;
  struct p11t_process *p = &p11t_process;
  for (uint32_t i = 0; i < p->slots; i++) {
    if (!p->thread[i].owned) return &p->thread[i];
  }
  uint64_t now = p11t_monotonic();
  if (now < retry_at) return NULL;
  if (p11t_slot_grow()) return &p->thread[p->slots - 1];
  for (uint32_t i = 0; i < p->slots; i++) {
    if (thread_is_gone(p->thread[i].tid)) return &p->thread[i];
  }
  retry_at = now + 1000000000u;
  return NULL;
}

void p11t_thread_time(struct p11t_thread *t)
{
  struct p11t_writer w;
  struct p11t_clock_pair now;
  p11t_clock_read(&now);
  t->clock = p11t_clock_is_counter ? P11T_CLOCK_TSC : P11T_CLOCK_MONOTONIC;
  p11t_begin(&w, t, P11T_TIME, 0, 0);
  p11t_u8(&w, t->clock);
  p11t_bytes(&w, &now, sizeof now);
  p11t_commit(&w);
  t->pair_ticks = now.ticks;
  atomic_store_explicit(&p11t_process.pair_ticks, now.ticks, memory_order_relaxed);
}

static char forked_name[17];

void p11t_thread_reserve(void)
{
  prctl(PR_GET_NAME, forked_name, 0, 0, 0);
}

/* Where prctl may be forbidden the first thread's name is known from before. */
static void thread_name(char name[17], uint32_t tid)
{
  int saved = errno;
  name[0] = 0;
  if (!p11t_guard->reserved)
    prctl(PR_GET_NAME, name, 0, 0, 0);
  else if (tid == p11t_process.pid)
    memcpy(name, forked_name, sizeof forked_name);
  errno = saved;
}

void p11t_thread_name(struct p11t_thread *t)
{
  struct p11t_writer w;
  p11t_begin(&w, t, P11T_THREAD, 0, 0);
  size_t n = strlen(t->name);
  p11t_n(&w, t->tid);
  p11t_n(&w, n);
  p11t_bytes(&w, t->name, n);
  p11t_commit(&w);
}

/* Makes a thread that has a slot ready: says who it is and what time it is. */
static void introduce(struct p11t_thread *t, bool restate)
{
  t->busy = __builtin_frame_address(0);
  p11t_thread_name(t);
  t->pair_ticks = atomic_load_explicit(&p11t_process.pair_ticks, memory_order_relaxed);
  /* Another thread's reading of a moment ago, or HEAD's, will do, if it was of the same clock. */
  bool same = p11t_process.head_counter == p11t_clock_is_counter;
  if (!same || p11t_ticks() - t->pair_ticks > P11T_TIME_EVERY) p11t_thread_time(t);
  if (restate) p11t_attached_restate(t);
  t->busy = NULL;
}

struct p11t_thread *p11t_thread_enter(void)
{
  struct p11t_process *p = &p11t_process;
  uint64_t epoch = atomic_load(&p11t_guard->epoch);
  struct p11t_thread *t = p11t_self;
  if (p->phase == P11T_OFF && epoch != 0) return NULL;
  if (t != NULL && t->epoch == epoch) return t;

  int saved = errno;
  bool first = false;
  p11t_lock();
  epoch = atomic_load(&p11t_guard->epoch);
  if (epoch == 0) { /* the first call of this process, or of a fork's child: the page was wiped */
    first = p11t_start();
    epoch = atomic_load(&p11t_guard->epoch);
    t = NULL;
  }
  if (p->phase != P11T_RUNNING) {
    p11t_unlock();
    errno = saved;
    return NULL;
  }
  if (t == NULL) {
    t = claim_slot();
    if (t != NULL) {
      p11t_stacks_handed_on(t);
      t->within = NULL;
    }
  }
  if (t != NULL && t->base == NULL && !p11t_ring_take(t)) t = NULL;
  if (t != NULL) {
    t->owned = true;
    t->tid = (uint32_t)sys_gettid();
    thread_name(t->name, t->tid);
    if (t->p == t->base + P11T_SLOT_HEAD) {
      t->first_tid = t->tid;
      memcpy(t->first_name, t->name, sizeof t->name);
    }
    t->busy = NULL;
    t->epoch = epoch;
    ((struct p11t_slot_head *)(void *)t->base)->tid = t->tid;
    p11t_self = t;
  }
  p11t_unlock();
  if (t != NULL) {
    if (exit_key_made) pthread_setspecific(exit_key, t);
    introduce(t, first);
  } else {
    atomic_fetch_add(&p11t_passed, 1);
  }
  errno = saved;
  return t;
}
