/* The end: what is still in slots goes out, END and the seek table follow, the live file goes. */
#include <string.h>

#include "shim/record/clock.h"
#include "shim/record/guard.h"
#include "shim/record/options.h"
#include "shim/record/process.h"
#include "shim/record/ring.h"
#include "shim/record/rotate.h"
#include "shim/record/sys.h"
#include "shim/record/writer.h"

#define EPOCH_CLOSED UINT64_MAX

/* Other threads may still be writing a record. At most 2 ms: this runs in the host's exit(). */
static void wait_for_records(void)
{
  struct p11t_process *p = &p11t_process;
  for (int i = 0; i < 20; i++) {
    bool busy = false;
    for (uint32_t k = 0; k < p->slots; k++) {
      struct p11t_thread *t = &p->thread[k];
      if (t != p11t_self && __atomic_load_n(&t->busy, __ATOMIC_ACQUIRE) != NULL && t->owned) busy = true;
    }
    if (!busy) return;
    struct timespec nap = {0, 100000};
    P11T_SYS(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, (void *)0);
  }
}

static uint8_t *field(uint8_t *p, uint16_t tag, const void *data, uint16_t size)
{
  memcpy(p, &tag, 2);
  memcpy(p + 2, &size, 2);
  memcpy(p + 4, data, size);
  return p + 4 + size;
}

static uint8_t *field_u64(uint8_t *p, uint16_t tag, uint64_t v)
{
  return field(p, tag, &v, sizeof v);
}

bool p11t_write_end(const char *reason, const char *trigger)
{
  struct p11t_process *process = &p11t_process;
  struct p11t_info info = {.magic = P11T_INFO_MAGIC, .kind = P11T_FRAME_END};
  struct p11t_clock_pair now;
  p11t_clock_read(&now);
  uint8_t *content = p11t_scratch.content, *p = content + sizeof info;
  p = field_u64(p, P11T_END_RECORDS, process->records);
  p = field_u64(p, P11T_END_DROPPED, atomic_load(&p11t_dropped));
  p = field_u64(p, P11T_END_CUT, atomic_load(&p11t_cut));
  p = field_u64(p, P11T_END_LAST, atomic_load(&p11t_number));
  p = field_u64(p, P11T_END_PASSED, atomic_load(&p11t_passed));
  p = field(p, P11T_END_CLOCK_PAIR, &now, sizeof now);
  p = field(p, P11T_END_REASON, reason, (uint16_t)strlen(reason));
  if (process->exit_code >> 31) {
    uint32_t status = process->exit_code & 0x7fffffff;
    p = field(p, P11T_END_STATUS, &status, sizeof status);
  }
  if (trigger != NULL) p = field(p, P11T_END_TRIGGER, trigger, (uint16_t)strlen(trigger));
  info.content = (uint32_t)(p - content);
  memcpy(content, &info, sizeof info);
  return p11t_write_frame(P11T_FRAME_END, &info, content, (size_t)(p - content), P11T_LEVEL_ONCE);
}

/* Reads exactly `size` bytes at `at`. */
static bool read_at(int fd, uint64_t at, void *to, size_t size)
{
  return sys_lseek(fd, at) >= 0 && sys_read(fd, to, size) == (long)size;
}

/* The official seek table: an entry for each frame in order, skippable ones with size 0. Sizes are found by hopping over
 * the file, so that nothing has to be remembered while recording. */
bool p11t_write_seek_table(void)
{
  struct p11t_process *p = &p11t_process;
  uint32_t entries = (uint32_t)(1 + 2 * p->frames), head[2] = {P11T_SKIP_SEEK, entries * 8 + 9};
  uint64_t end = p->end, at = 0;
  uint8_t *out = p11t_scratch.packed;
  size_t n = 0;
  memcpy(out, head, 8);
  n = 8;
  for (uint32_t i = 0; i < entries;) {
    uint32_t skippable[2], entry[2];
    if (!read_at(p->trace.fd, at, skippable, 8)) goto torn;
    entry[0] = skippable[1] + 8;
    entry[1] = 0;
    memcpy(out + n, entry, 8);
    n += 8;
    i++;
    if (skippable[0] == P11T_SKIP_INFO) {
      struct p11t_info info;
      if (!read_at(p->trace.fd, at + 8, &info, sizeof info) || info.magic != P11T_INFO_MAGIC) goto torn;
      entry[0] = info.packed;
      entry[1] = info.content;
      memcpy(out + n, entry, 8);
      n += 8;
      i++;
      at += info.packed;
    }
    at += skippable[1] + 8;
    if (n + 32 > p11t_scratch.packed_size) {
      if (p11t_output_append(&p->trace, &p->end, out, n) != 0) goto torn;
      n = 0;
    }
  }
  uint8_t footer[9] = {0};
  uint32_t magic = P11T_SEEK_MAGIC;
  memcpy(footer, &entries, 4);
  memcpy(footer + 5, &magic, 4);
  memcpy(out + n, footer, sizeof footer);
  if (at == end && p11t_output_append(&p->trace, &p->end, out, n + sizeof footer) == 0) return true;
torn: /* a trace without a table is whole, one with half a table is not */
  if (p11t_output_check(&p->trace)) sys_ftruncate(p->trace.fd, end);
  return false;
}

/* Not in a vfork's child, which runs in our memory with another pid, nor in a fork's, whose page was wiped. */
void p11t_ends_with(int status)
{
  struct p11t_process *p = &p11t_process;
  uint64_t epoch = atomic_load(&p11t_guard->epoch);
  if (epoch == 0 || epoch == EPOCH_CLOSED || p->phase != P11T_RUNNING || p->pid != (uint32_t)sys_getpid()) return;
  p->exit_code = 1u << 31 | ((uint32_t)status & 0xff);
  p->head->exit_code = p->exit_code;
}

static bool finish_file(const char *reason)
{
  struct p11t_process *p = &p11t_process;
  p11t_rotation_ends();
  for (uint32_t i = 0; i < p->slots; i++) p11t_flush_locked(&p->thread[i], P11T_LEVEL_ONCE);
  p->retry_at = 0;
  return p11t_write_end(reason, NULL) && p11t_write_seek_table();
}

void p11t_finish(const char *reason)
{
  struct p11t_process *p = &p11t_process;
  uint64_t epoch = atomic_load(&p11t_guard->epoch);
  if (epoch == 0 || epoch == EPOCH_CLOSED || p->phase != P11T_RUNNING) return;
  int saved = errno;
  sigset_t old;
  sys_block_signals(&old);
  atomic_store(&p11t_guard->epoch, EPOCH_CLOSED);
  wait_for_records();
  p11t_lock();
  if (p->phase == P11T_RUNNING) {
    bool whole = true;
    if (p11t_options.ring != 0)
      p11t_ring_finish(reason);
    else
      whole = finish_file(reason);
    /* A child that may be in a sandbox leaves the live file to `p11trace run`. */
    if (whole && p->live.fd >= 0 && !p11t_guard->reserved) sys_unlink(p->live.path);
    p11t_output_mend(&p->trace, p->end, true);
    p->head->state = P11T_CLOSED;
    p11t_output_close(&p->trace);
    p11t_output_close(&p->live);
    p->phase = P11T_OFF;
  }
  p11t_unlock();
  P11T_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &old, (void *)0, 8);
  errno = saved;
}

__attribute__((destructor)) static void unload(void)
{
  p11t_finish("exit");
}
