#include "shim/record/stack.h"

#include <sys/mman.h>

#include "shim/record/guard.h"
#include "shim/record/sys.h"
#include "shim/record/walk.h"

#define KNOWN 256
#define POOL 4096

/* A thread's stacks: what it knows of code, and the STACK records of this fill. The records' own bytes are deltas from
 * their neighbours, so the addresses are kept beside them. */
struct p11t_stacks {
  struct p11t_walker walker;
  uint64_t epoch; /* p11t_objects_epoch for which `known` holds */
  uint32_t pool_fill, pool_used;
  struct known {
    uint32_t hash, fill;
    uint16_t index, depth;
    uint32_t at; /* in pool */
  } known[KNOWN];
  uint64_t pool[POOL];
};

void p11t_stacks_make(struct p11t_thread *t)
{
  if (t->stack != NULL || p11t_options.stack == P11T_STACK_OFF) return;
  void *m = mmap(NULL, sizeof(struct p11t_stacks), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
  if (m == MAP_FAILED) return; /* then stacks are of one frame, and nobody knows its file */
  madvise(m, sizeof(struct p11t_stacks), MADV_DONTDUMP);
  t->stack = m;
}

void p11t_stacks_handed_on(struct p11t_thread *t)
{
  if (t->stack != NULL) p11t_walk_elsewhere(&t->stack->walker);
}

/* --- files that were replaced -------------------------------------------------------------------------------------------- */

static uint64_t get_n(const uint8_t **p)
{
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    uint8_t byte = *(*p)++;
    v |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) break;
  }
  return v;
}

/* Marks the fill's STACK records of one frame in [start, end). Not once each of them is looked at before it is named. */
static void mark(struct p11t_thread *t, uint64_t start, uint64_t end)
{
  if (t->careful) return;
  uint64_t first = 0;
  for (uint8_t *p = t->base + P11T_SLOT_HEAD; p < t->p;) {
    struct p11t_raw head;
    memcpy(&head, p, P11T_RAW);
    if (head.commit == 0) return;
    if (head.kind == P11T_STACK) {
      const uint8_t *body = p + P11T_RAW;
      get_n(&body); /* index */
      uint64_t depth = get_n(&body);
      uint8_t *flags = p + (body - p);
      body++;
      uint64_t z = get_n(&body);
      first += (z >> 1) ^ (0 - (z & 1));
      if (depth == 1 && first > start && first <= end) *flags |= P11T_STACK_STALE;
    }
    p += head.commit;
  }
}

void p11t_stacks_settle(struct p11t_thread *t)
{
  struct p11t_stacks *s = t->stack;
  if (s == NULL || t->stacks == 0) return;
  for (unsigned i = 0; i < P11T_OBJECTS; i++) {
    struct p11t_object *o = &s->walker.objects.object[i];
    if (o->end == 0 || o->caller_fill != t->fill || p11t_object_holds(o)) continue;
    mark(t, o->start, o->end);
    o->said = 0;
  }
}

/* Nothing that is remembered of this fill holds any more. Settles what was written before it is said anew. */
static __attribute__((noinline)) void forget(struct p11t_thread *t)
{
  struct p11t_stacks *s = t->stack;
  int saved = errno;
  sigset_t all, old;
  sigfillset(&all);
  P11T_SYS(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, 8); /* a handler that jumps away would leave the lock held */
  p11t_lock();
  if (s->walker.gone.end != 0) mark(t, s->walker.gone.start, s->walker.gone.end);
  s->walker.gone = (struct p11t_gone){0, 0};
  p11t_stacks_settle(t);
  s->epoch = atomic_load(&p11t_objects_epoch);
  p11t_unlock();
  P11T_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &old, (void *)0, 8);
  errno = saved;
  memset(s->known, 0, sizeof s->known);
  memset(t->caller, 0, sizeof t->caller);
  t->checked = -1;
}

/* Files were replaced: what was named without looking is marked for the last time. */
static void be_careful(struct p11t_thread *t)
{
  forget(t);
  t->careful = true;
}

static inline void forget_if_moved(struct p11t_thread *t)
{
  struct p11t_stacks *s = t->stack;
  bool moved = s->walker.gone.end != 0 || s->epoch != atomic_load_explicit(&p11t_objects_epoch, memory_order_relaxed);
  if (__builtin_expect(moved, 0)) forget(t);
}

/* --- records ------------------------------------------------------------------------------------------------------------- */

/* Writes a STACK record; the slot has room for it. */
static uint16_t write_stack(struct p11t_thread *t, const uint64_t *address, unsigned depth)
{
  struct p11t_writer w;
  uint64_t before = t->stacks == 0 ? 0 : t->last_caller;
  uint16_t index = ++t->stacks;
  p11t_begin(&w, t, P11T_STACK, 0, 0);
  p11t_n(&w, index);
  p11t_n(&w, depth);
  p11t_u8(&w, 0);
  for (unsigned i = 0; i < depth; i++) {
    p11t_z(&w, (int64_t)(address[i] - before));
    before = address[i];
  }
  p11t_commit(&w);
  t->last_caller = address[0];
  return index;
}

/* Makes room in the slot. With stack=error full stacks are taken at LEAVE, whose time has been read. */
static void make_room(struct p11t_thread *t, size_t size, bool at_leave)
{
  if ((size_t)(t->end - t->p) >= size) return;
  if (at_leave)
    p11t_flush_within(t);
  else
    p11t_flush(t);
}

/* For the STACK record and for the call that names it: both must lie in one fill. */
#define ROOM_FOR_BOTH (4 * P11T_ROOM)

uint16_t p11t_stack_new_caller(struct p11t_thread *t, uint64_t caller, unsigned place)
{
  struct p11t_stacks *s = t->stack;
  int object = -1;
  if (s != NULL) {
    struct p11t_gone *gone = &s->walker.gone;
    object = p11t_object_find(&s->walker.objects, caller - 1, gone);
    if (gone->end != 0) p11t_walk_forget(&s->walker);
    forget_if_moved(t);
    if (!t->careful && atomic_load_explicit(&p11t_objects_replaced, memory_order_relaxed)) be_careful(t);
    if (object >= 0) {
      p11t_object_say(t, &s->walker.objects.object[object]);
      make_room(t, ROOM_FOR_BOTH, false);
      s->walker.objects.object[object].caller_fill = t->fill;
      if (s->walker.objects.object[object].stays) object = -1;
    }
  }
  make_room(t, ROOM_FOR_BOTH, false);
  uint16_t index = write_stack(t, &caller, 1);
  t->caller[place].address = caller;
  t->caller[place].fill = t->fill;
  t->caller[place].index = index;
  t->caller[place].object = (int16_t)object;
  return index;
}

bool p11t_stack_holds(struct p11t_thread *t, int16_t object)
{
  const struct p11t_object *o = &t->stack->walker.objects.object[object];
  uint64_t epoch = atomic_load_explicit(&p11t_objects_epoch, memory_order_relaxed);
  if (t->careful && o->said == epoch && p11t_object_in_place(o)) return true;
  be_careful(t);
  return false;
}

void p11t_stack_recheck(struct p11t_thread *t, int16_t object, uint64_t now)
{
  struct p11t_stacks *s = t->stack;
  if (!p11t_object_in_place(&s->walker.objects.object[object])) {
    atomic_store_explicit(&p11t_objects_replaced, true, memory_order_relaxed);
    be_careful(t);
    return;
  }
  t->checked = object;
  t->checked_at = now;
}

static bool is_known(const struct p11t_stacks *s, const struct known *k, uint32_t fill)
{
  const struct p11t_walker *w = &s->walker;
  return k->fill == fill && k->hash == w->hash && k->depth == w->depth &&
         memcmp(s->pool + k->at, w->address, w->depth * sizeof *w->address) == 0;
}

static __attribute__((noinline)) uint16_t new_full(struct p11t_thread *t)
{
  struct p11t_stacks *s = t->stack;
  struct p11t_walker *w = &s->walker;
  for (unsigned i = 0; i < w->depth; i++) {
    if (w->object[i] >= 0) p11t_object_say(t, &w->objects.object[w->object[i]]);
  }
  make_room(t, ROOM_FOR_BOTH, p11t_options.stack == P11T_STACK_ERROR);
  if (t->stacks == UINT16_MAX) return 0;
  uint16_t index = write_stack(t, w->address, w->depth);
  if (s->pool_fill != t->fill) {
    s->pool_fill = t->fill;
    s->pool_used = 0;
  }
  if (s->pool_used + w->depth > POOL) return index;
  struct known *k = &s->known[w->hash % KNOWN];
  for (unsigned i = 0; i < 4 && k->fill == t->fill; i++) k = &s->known[(w->hash + i) % KNOWN];
  *k = (struct known){w->hash, t->fill, index, (uint16_t)w->depth, s->pool_used};
  memcpy(s->pool + s->pool_used, w->address, w->depth * sizeof *w->address);
  s->pool_used += w->depth;
  return index;
}

uint16_t p11t_stack_full(struct p11t_thread *t, uint64_t caller, const void *frame)
{
  struct p11t_stacks *s = t->stack;
  make_room(t, P11T_ROOM, p11t_options.stack == P11T_STACK_ERROR);
  if (s == NULL) {
    int16_t object;
    return p11t_stack_caller(t, caller, &object);
  }
  p11t_walk(&s->walker, frame, caller);
  forget_if_moved(t);
  for (unsigned i = 0; i < 4; i++) {
    const struct known *k = &s->known[(s->walker.hash + i) % KNOWN];
    if (is_known(s, k, t->fill)) return k->index;
  }
  return new_full(t);
}

/* --- first ------------------------------------------------------------------------------------------------------------- */

#define SEEN 4096

/* Pairs of function and caller that had their full stack. Where there is no place left, only callers are recorded. */
static _Atomic uint64_t seen[SEEN];

bool p11t_stack_is_first(unsigned function, uint64_t caller)
{
  uint64_t key = caller ^ (uint64_t)(function + 1) << 48;
  unsigned at = (unsigned)((key * 0x9E3779B97F4A7C15ull) >> 52);
  for (unsigned i = 0; i < 8; i++) {
    _Atomic uint64_t *place = &seen[(at + i) % SEEN];
    uint64_t have = atomic_load_explicit(place, memory_order_relaxed);
    if (have == key) return false;
    if (have == 0 &&
        atomic_compare_exchange_strong_explicit(place, &have, key, memory_order_relaxed, memory_order_relaxed))
      return true;
    if (have == key) return false;
  }
  return false;
}

void p11t_stacks_start(void)
{
  p11t_objects_forget();
  if (p11t_options.stack != P11T_STACK_FIRST) return;
  for (unsigned i = 0; i < SEEN; i++) atomic_store_explicit(&seen[i], 0, memory_order_relaxed);
}
