/* From full slots to frames of the trace. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "shim/record/clock.h"
#include "shim/record/guard.h"
#include "shim/record/options.h"
#include "shim/record/process.h"
#include "shim/record/restate.h"
#include "shim/record/ring.h"
#include "shim/record/rotate.h"
#include "shim/record/say.h"
#include "shim/record/stack.h"
#include "shim/record/sys.h"
#include "shim/trace/frame.h"

#define RETRY_NS 1000000000ull

struct p11t_scratch p11t_scratch;

bool p11t_scratch_make(void)
{
  struct p11t_scratch *s = &p11t_scratch;
  if (s->zstd != NULL) return true;
  /* Level 1 for full slots while the host waits, a higher one for what is written once: schema and last frames. */
  size_t context = 0;
  for (int level = 1; level <= P11T_LEVEL_ONCE; level++) {
    size_t n = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, P11T_CONTENT_MAX, 0));
    if (n > context) context = n;
  }
  s->packed_size = ZSTD_compressBound(P11T_CONTENT_MAX) + 8 + sizeof(struct p11t_info);
  size_t size = context + P11T_FRAME_WORK + P11T_CONTENT_MAX + P11T_SLOT_SIZE + s->packed_size + 64;
  uint8_t *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return false;
  madvise(m, size, MADV_DONTDUMP);
  s->zstd = ZSTD_initStaticCCtx(m, context);
  if (s->zstd == NULL) return false;
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1);
  m += (context + 63) & ~(size_t)63;
  s->columns = m;
  s->content = m + P11T_FRAME_WORK;
  s->spare = s->content + P11T_CONTENT_MAX;
  s->packed = s->spare + P11T_SLOT_SIZE;
  return true;
}

void p11t_losing(const char *why)
{
  struct p11t_process *p = &p11t_process;
  if (p->phase != P11T_RUNNING) {
    p11t_say("%s: cannot be written: %s; not recording (the program is not affected)", p->trace.path, why);
  } else if (p->head->state != P11T_LOSING) {
    p11t_say("%s: cannot be written: %s; records are lost until it can (the program is not affected)", p->trace.path,
             why);
  }
  p->head->state = P11T_LOSING;
  p->retry_at = p11t_monotonic() + RETRY_NS;
}

/* In a sandbox the question may be forbidden, so it was asked when the files were opened. */
static bool has_room(size_t size)
{
  if (p11t_guard->reserved) return true;
  uint64_t room, total;
  if (!p11t_output_room(p11t_process.trace.fd, &room, &total)) return true;
  uint64_t keep = p11t_options.min_free;
  if (keep == UINT64_MAX) keep = total / 20 < (1u << 30) ? total / 20 : 1u << 30;
  return room >= keep + size;
}

bool p11t_write_frame(uint8_t kind, const struct p11t_info *given, const uint8_t *content, size_t size, int level)
{
  struct p11t_process *p = &p11t_process;
  struct p11t_scratch *s = &p11t_scratch;
  if (p->retry_at && p11t_monotonic() < p->retry_at) return false;
  if (!p11t_output_check(&p->trace)) {
    p11t_losing("its descriptor was closed and its name is not ours any more");
    return false;
  }
  ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, level);
  const size_t head = 8 + sizeof(struct p11t_info);
  size_t packed = ZSTD_compress2(s->zstd, s->packed + head, s->packed_size - head, content, size);
  if (ZSTD_isError(packed)) {
    p11t_losing("it does not compress");
    return false;
  }
  struct p11t_info info = *given;
  info.magic = P11T_INFO_MAGIC;
  info.kind = kind;
  info.packed = (uint32_t)packed;
  info.content = (uint32_t)size;
  p11t_info_seal(&info);
  uint32_t skippable[2] = {P11T_SKIP_INFO, sizeof info};
  memcpy(s->packed, skippable, 8);
  memcpy(s->packed + 8, &info, sizeof info);
  if (!has_room(head + packed)) {
    p11t_losing("less than min-free is left on its file system");
    return false;
  }
  long r = p11t_output_append(&p->trace, &p->end, s->packed, head + packed);
  if (r != 0) {
    p11t_losing(p11t_errno_text((int)-r));
    return false;
  }
  if (p->head->state == P11T_LOSING && kind != P11T_FRAME_END) p11t_say("%s: is written again", p->trace.path);
  p->retry_at = 0;
  p->frames++;
  p->records += info.records;
  p->head->state = P11T_RECORDING;
  p->head->frames = p->frames;
  p->head->trace_end = p->end;
  p11t_rotation_saw(&info);
  return true;
}

void p11t_flush_locked(struct p11t_thread *t, int level)
{
  struct p11t_slot_head *slot = (void *)t->base;
  struct p11t_info info = {
      .kind = P11T_FRAME_EVENTS,
      .clock = t->fill_clock != 0          ? t->fill_clock
               : p11t_process.head_counter ? P11T_CLOCK_TSC
                                           : P11T_CLOCK_MONOTONIC,
      .slot = t->slot,
      .tid = t->tid,
      .generation = slot->generation,
      .dropped = (uint32_t)atomic_load(&p11t_dropped),
  };
  struct p11t_scratch *s = &p11t_scratch;
  p11t_stacks_settle(t);
  p11t_rotate_if_full();
  size_t size = p11t_frame_build(s->content, s->columns, t->base + P11T_SLOT_HEAD,
                                 (size_t)(t->p - t->base) - P11T_SLOT_HEAD, &info);
  if (size == 0) return;
  if (!p11t_write_frame(P11T_FRAME_EVENTS, &info, s->content, size, level)) {
    p11t_process.head->dropped = atomic_fetch_add(&p11t_dropped, info.records) + info.records;
    p11t_rotation_saw(&info); /* what is lost cannot be in a later file either */
  }
  /* In this order: killed in between, the slot is empty and of an old generation, which is harmless; the other way round
   * its content would count twice. */
  atomic_store_explicit((_Atomic uint32_t *)(void *)(t->base + P11T_SLOT_HEAD), 0, memory_order_release);
  atomic_store_explicit((_Atomic uint32_t *)&slot->generation, slot->generation + 1, memory_order_release);
  t->p = t->base + P11T_SLOT_HEAD;
  t->fill++;
  t->fill_clock = t->clock;
  t->stacks = 0;
  t->first_tid = t->tid;
  memcpy(t->first_name, t->name, sizeof t->name);
}

/* A counter that runs at another speed than it did is no clock: from then on CLOCK_MONOTONIC. Sends every thread through
 * p11t_thread_enter once, where it writes a TIME record of the new clock. */
static bool watch_clock(void)
{
  struct p11t_process *p = &p11t_process;
  struct p11t_clock_pair now;
  bool changed = false;
  uint64_t apart = p11t_clock_read(&now);
  if (p11t_clock_is_counter && !p11t_clock_holds(&now, apart)) {
    p11t_clock_is_counter = false;
    changed = true;
    atomic_fetch_add(&p11t_guard->epoch, 1);
    p11t_clock_read(&now);
  }
  p->head->last = now;
  p->head->cut = atomic_load(&p11t_cut);
  p->head->passed = atomic_load(&p11t_passed);
  return changed;
}

static void flush(struct p11t_thread *t, bool between_records)
{
  if (p11t_restate_flush(t)) return;
  int saved = errno;
  bool changed = false;
  sigset_t old;
  sys_block_signals(&old); /* a handler that jumps away would leave the lock held */
  p11t_lock();
  if (p11t_process.phase == P11T_RUNNING) {
    if (p11t_options.ring != 0)
      p11t_ring_turn(t);
    else
      p11t_flush_locked(t, P11T_LEVEL_FULL);
    if (between_records) changed = watch_clock();
  } else { /* recording ended meanwhile: the record that wanted room is lost with the rest */
    t->p = t->base + P11T_SLOT_HEAD;
    t->fill++;
    t->stacks = 0;
  }
  p11t_unlock();
  P11T_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &old, (void *)0, 8);
  if (changed) p11t_thread_time(t); /* the record that comes next is of the new clock already */
  errno = saved;
}

void p11t_flush(struct p11t_thread *t)
{
  flush(t, true);
}

void p11t_flush_within(struct p11t_thread *t)
{
  flush(t, false);
}
