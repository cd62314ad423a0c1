#include "shim/record/process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/record/clock.h"
#include "shim/record/guard.h"
#include "shim/record/head.h"
#include "shim/record/live.h"
#include "shim/record/rotate.h"
#include "shim/record/say.h"
#include "shim/record/seal.h"
#include "shim/record/stack.h"
#include "shim/record/sys.h"
#include "shim/record/trigger.h"
#include "shim/trace/schema.h"

struct p11t_process p11t_process;
_Atomic uint64_t p11t_number __attribute__((aligned(64)));
_Atomic uint64_t p11t_dropped __attribute__((aligned(64)));
_Atomic uint64_t p11t_passed;
_Atomic uint64_t p11t_cut;

/* A reason why this process and its children do not record was said already. */
static bool failed;

void p11t_process_load(int argc)
{
  static atomic_flag done = ATOMIC_FLAG_INIT;
  p11t_head_facts(argc);
  if (atomic_flag_test_and_set(&done)) return;
  p11t_clock_start(&p11t_process.first);
  if (!p11t_guard_make()) {
    p11t_say("this kernel cannot tell a process from its fork (MADV_WIPEONFORK, Linux 4.14): not recording");
    failed = true;
  }
}

__attribute__((constructor)) static void load(int argc)
{
  p11t_process_load(argc);
}

/* In a fork's child: lets go of what belongs to the parent. Its maps are not here (MADV_DONTFORK), its lock is free and its
 * keys are gone (the guard page was wiped). */
static void leave_parent(void)
{
  struct p11t_process *p = &p11t_process;
  p11t_output_close(&p->trace);
  p11t_output_close(&p->live);
  if (p->phase == P11T_RUNNING) { /* else it had no trace: the child's is linked to the nearest that there is */
    memcpy(p->parent_id, p->trace_id, sizeof p->parent_id);
    p->parent_pid = p->pid;
  }
  p->head = NULL;
  p->slots = p->places = 0;
}

/* HEAD as it was at the start; later files say the same, when nothing can be asked any more. */
static uint8_t head[P11T_HEAD_MAX];
static size_t head_size;

static long write_head(uint64_t complete_from, uint32_t index)
{
  struct p11t_process *p = &p11t_process;
  uint8_t *frame = p11t_scratch.packed;
  memcpy(frame + 8, head, head_size);
  size_t size = head_size + p11t_head_of_file(frame + 8 + head_size, complete_from, index);
  uint32_t skippable[2] = {P11T_SKIP_HEAD, (uint32_t)size};
  memcpy(frame, skippable, 8);
  p->end = p->frames = 0;
  return p11t_output_append(&p->trace, &p->end, frame, 8 + size);
}

static bool write_schema(void)
{
  uint8_t *content = p11t_scratch.content;
  size_t size = p11t_schema_build(content);
  struct p11t_info info = {.magic = P11T_INFO_MAGIC, .kind = P11T_FRAME_SCHEMA, .content = (uint32_t)size};
  memcpy(content, &info, sizeof info);
  return size != 0 && p11t_write_frame(P11T_FRAME_SCHEMA, &info, content, size, P11T_LEVEL_ONCE);
}

long p11t_begin_file(uint64_t complete_from, uint32_t index)
{
  long r = write_head(complete_from, index);
  return r != 0 ? r : write_schema() ? 0 : -ENOSPC;
}

static bool make_memory(void)
{
  struct p11t_process *p = &p11t_process;
  if (p->thread == NULL) {
    void *m =
        mmap(NULL, P11T_MAX_SLOTS * sizeof *p->thread, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return false;
    p->thread = m;
  }
  return p11t_scratch_make();
}

/* Where the live file lies when that is not beside the trace. */
static char live_path[PATH_MAX];

static bool open_files(bool empty)
{
  char path[PATH_MAX];
  if (!p11t_output_path(path) || !p11t_output_create(&p11t_process.trace, path)) return false;
  p11t_live_place(live_path, sizeof live_path, empty);
  p11t_head_gather();
  return true;
}

static bool fill_files(void)
{
  struct p11t_process *p = &p11t_process;
  bool started = p11t_live_fill();
  if (started) {
    head_size = p11t_head_build(head, live_path);
    long r = write_head(1, 1);
    if (r != 0) p11t_say("%s: cannot be written: %s; not recording", p->trace.path, p11t_errno_text((int)-r));
    started = r == 0 && write_schema() && p11t_rotation_start();
    if (started)
      p11t_live_publish(head, head_size);
    else if (p->live.fd >= 0)
      sys_unlink(p->live.path);
  } else {
    p11t_say("%s: no memory for the recorder; not recording", p->trace.path);
  }
  if (!started) {
    sys_unlink(p->trace.path);
    p11t_output_close(&p->trace);
    p11t_output_close(&p->live);
  }
  return started;
}

static void begin_instance(void)
{
  struct p11t_process *p = &p11t_process;
  if (p->instance > 0) leave_parent();
  p->instance++;
  p->pid = (uint32_t)sys_getpid();
  p->frames = p->records = p->retry_at = p->exit_code = 0;
}

void p11t_reserve(void)
{
  struct p11t_process *p = &p11t_process;
  int saved = errno;
  if (failed) return;
  begin_instance();
  p->phase = P11T_IDLE;
  p11t_thread_reserve();
  if (open_files(true))
    p11t_guard->reserved = 1;
  else
    failed = true;
  errno = saved;
}

bool p11t_start(void)
{
  struct p11t_process *p = &p11t_process;
  struct p11t_guard *g = p11t_guard;
  bool reserved = g->reserved == 1;
  if (!reserved) begin_instance();
  p->phase = P11T_OFF;
  atomic_store(&p11t_number, 0);
  atomic_store(&p11t_dropped, 0);
  atomic_store(&p11t_passed, 0);
  atomic_store(&p11t_cut, 0);
  p11t_stacks_start();
  bool ready =
      !failed && sys_random(p->trace_id, sizeof p->trace_id) && sys_random(g->key, sizeof g->key) && p11t_seal_start();
  if (ready) {
    p->head_counter = p11t_clock_is_counter;
    p->ticks_per_second = p11t_clock_estimate();
    ready = make_memory() && (reserved || open_files(false)) && fill_files();
  }
  if (ready) {
    p->phase = P11T_RUNNING;
    p11t_trigger_start();
  } else
    failed = true;
  atomic_store(&g->epoch, (p->instance << 32) + 1);
  return ready;
}
