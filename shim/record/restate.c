#include "shim/record/restate.h"

#include <string.h>

#include "shim/record/attached.h"
#include "shim/record/options.h"
#include "shim/record/writer.h"
#include "shim/trace/frame.h"

/* What writers of records take for a thread. */
static struct p11t_thread tables;
static bool writing; /* frames; else a slot of a flight recorder, and what does not fit is left out */
static bool failed;  /* a frame could not be written */
static uint8_t *in_ring[P11T_RESTATE_PLACES];
static unsigned latest, said;
static uint64_t said_in; /* p11t_process.instance */

static void into(uint8_t *base)
{
  tables.base = base;
  tables.p = base + P11T_SLOT_HEAD;
  tables.end = base + P11T_SLOT_SIZE;
  atomic_store_explicit((_Atomic uint32_t *)(void *)tables.p, 0, memory_order_release);
}

static void write_frame(void)
{
  struct p11t_scratch *s = &p11t_scratch;
  struct p11t_info info = {.kind = P11T_FRAME_TABLES,
                           .clock = p11t_process.head_counter ? P11T_CLOCK_TSC : P11T_CLOCK_MONOTONIC};
  size_t size = p11t_frame_build(s->content, s->columns, tables.base + P11T_SLOT_HEAD,
                                 (size_t)(tables.p - tables.base) - P11T_SLOT_HEAD, &info);
  if (size != 0 && !p11t_write_frame(P11T_FRAME_TABLES, &info, s->content, size, P11T_LEVEL_ONCE)) failed = true;
  into(tables.base);
}

bool p11t_restate_flush(struct p11t_thread *t)
{
  if (t != &tables) return false;
  if (writing)
    write_frame();
  else
    into(p11t_scratch.spare);
  return true;
}

/* Who had each slot when its fill began: its THREAD record may be in a file that is gone. */
static void restate_threads(void)
{
  struct p11t_process *p = &p11t_process;
  for (uint32_t i = 0; i < p->slots; i++) {
    const struct p11t_thread *t = &p->thread[i];
    struct p11t_writer w;
    if (t->first_tid == 0 || t->base == NULL) continue;
    p11t_begin(&w, &tables, P11T_THREAD, 0, 0);
    p11t_n(&w, t->first_tid);
    size_t n = strlen(t->first_name);
    p11t_n(&w, n);
    p11t_bytes(&w, t->first_name, n);
    p11t_n(&w, t->slot);
    p11t_n(&w, ((const struct p11t_slot_head *)(const void *)t->base)->generation);
    p11t_commit(&w);
  }
}

bool p11t_restate(void)
{
  failed = false;
  into(p11t_scratch.spare);
  writing = true;
  if (p11t_options.ring == 0) restate_threads(); /* in a ring each fill says it */
  p11t_attached_again(&tables);
  write_frame();
  writing = false;
  return !failed;
}

/* Two slots in turn: one of them is whole whenever the process is killed. */
void p11t_restate_in_ring(void)
{
  unsigned now = p11t_attached_changes;
  bool fresh = said_in != p11t_process.instance;
  if (!fresh && now == said) return;
  if (fresh) {
    uint8_t *a = p11t_place_grow(), *b = a ? p11t_place_grow() : NULL;
    if (b == NULL) return;
    in_ring[0] = a;
    in_ring[1] = b;
    said_in = p11t_process.instance;
  }
  said = now;
  latest ^= 1;
  uint8_t *base = in_ring[latest];
  struct p11t_slot_head *head = (void *)base;
  into(base);
  *head = (struct p11t_slot_head){.magic = P11T_SLOT_MAGIC, .index = P11T_SLOT_TABLES, .generation = 1};
  p11t_attached_again(&tables);
}
