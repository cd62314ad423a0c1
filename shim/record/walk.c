#include "shim/record/walk.h"

#include <string.h>

#include "shim/record/sys.h"

#define PAGE 4096ull
#define FAR (256 * 1024ull) /* a stack pointer that moved further than this may be on another stack */

/* Offsets in the ucontext of a signal's frame (x86-64). */
enum { SIGNAL_FP = 120, SIGNAL_SP = 160, SIGNAL_PC = 168 };

/* The walk reads saved registers of the thread's own frames. Sanitizers look at variables, and stay out. */
#define OWN_STACK __attribute__((no_sanitize("address", "thread", "undefined")))

void p11t_walk_elsewhere(struct p11t_walker *w)
{
  w->low = w->high = 0;
}

static bool page_readable(uint64_t page)
{
  return sys_readable((const void *)(uintptr_t)page);
}

/* Makes [sp, sp + something) the part that can be read, keeping what is known of this stack. */
static void begin_at(struct p11t_walker *w, uint64_t sp)
{
  if (sp >= w->low && sp < w->high) return;
  uint64_t page = sp & ~(PAGE - 1);
  if (sp < w->low && w->low - page <= FAR) {
    while (w->low > page && page_readable(w->low - PAGE)) w->low -= PAGE;
    if (w->low == page) return;
  }
  w->low = page; /* readable: the wrapper's frame lies in it */
  w->high = page + PAGE;
}

/* Whether the 8 bytes below `end` can be read, going up page by page from what is known. */
static inline bool reaches(struct p11t_walker *w, uint64_t end)
{
  if (__builtin_expect(end <= w->high, 1)) return true;
  if (end - w->high > FAR) return false;
  while (end > w->high) {
    if (!page_readable(w->high)) return false;
    w->high += PAGE;
  }
  return true;
}

static OWN_STACK inline uint64_t word(uint64_t at)
{
  return *(const volatile uint64_t *)(uintptr_t)at;
}

/* All of it: a file is gone, and the rules of files are not told apart. */
void p11t_walk_forget(struct p11t_walker *w)
{
  memset(w->rule, 0, sizeof w->rule);
}

static __attribute__((noinline)) void learn(struct p11t_walker *w, struct p11t_rule *set, uint64_t pc)
{
  struct p11t_gone gone = w->gone;
  int place = p11t_object_find(&w->objects, pc, &w->gone);
  if (gone.end != w->gone.end || gone.start != w->gone.start) p11t_walk_forget(w);
  memmove(set + 1, set, (P11T_RULE_WAYS - 1) * sizeof *set);
  struct p11t_rule *rule = set;
  rule->pc = pc;
  rule->object = UINT8_MAX;
  rule->kind = P11T_RULE_NONE;
  if (place < 0) return;
  const struct p11t_object *o = &w->objects.object[place];
  w->objects.object[place].checked = w->walks;
  p11t_cfi_rule(rule, pc, o->start, o->end, o->index);
  rule->object = (uint8_t)place; /* last: a signal handler may jump out of here */
}

/* The rule for `pc`, of a file that is known to be in place. */
static inline const struct p11t_rule *rule_of(struct p11t_walker *w, uint64_t pc)
{
  struct p11t_rule *set = w->rule[(pc ^ pc >> 10) & (P11T_RULE_SETS - 1)];
  for (unsigned i = 0; i < P11T_RULE_WAYS; i++) {
    if (set[i].pc != pc) continue;
    if (set[i].object == UINT8_MAX) break;
    struct p11t_object *o = &w->objects.object[set[i].object];
    if (__builtin_expect(o->checked == w->walks, 1)) return &set[i];
    if (!p11t_object_in_place(o)) break;
    o->checked = w->walks;
    return &set[i];
  }
  learn(w, set, pc);
  return set;
}

OWN_STACK void p11t_walk(struct p11t_walker *w, const void *frame, uint64_t caller)
{
  uint64_t sp = (uint64_t)(uintptr_t)frame + 16, fp = word(sp - 16), ip = caller;
  unsigned n = 0;
  uint32_t hash = 0;
  bool exact = false;
  w->walks++;
  begin_at(w, sp - 16);
  bool standard = word(sp - 8) == caller; /* else the compiler laid the wrapper's frame out in another way */
  while (n < P11T_DEPTH) {
    uint64_t pc = ip - !exact;
    const struct p11t_rule *rule = rule_of(w, pc);
    w->address[n] = ip + exact; /* so that the instruction is always the one before */
    w->object[n++] = rule->object == UINT8_MAX ? -1 : rule->object;
    hash = (hash << 5 | hash >> 27) + (uint32_t)ip;
    exact = false;
    uint64_t next;
    switch ((enum p11t_rule_kind)rule->kind) {
      case P11T_RULE_SP: next = sp + (uint64_t)(int64_t)rule->cfa; break;
      case P11T_RULE_FP: next = fp + (uint64_t)(int64_t)rule->cfa; break;
      case P11T_RULE_ALIGNED: {
        uint64_t at = fp + (uint64_t)(int64_t)rule->cfa;
        if (at < sp || fp < sp || !reaches(w, at + 8) || !reaches(w, fp + 8)) goto end;
        next = word(at);
        break;
      }
      case P11T_RULE_SIGNAL:
        if (!reaches(w, sp + SIGNAL_PC + 8)) goto end;
        exact = true;
        next = word(sp + SIGNAL_SP);
        break;
      default: goto end;
    }
    if (!standard || next <= sp || (next & 7) != 0 || !reaches(w, next)) goto end;
    if (exact) {
      fp = word(sp + SIGNAL_FP);
      ip = word(sp + SIGNAL_PC);
    } else {
      if (rule->kind == P11T_RULE_ALIGNED)
        fp = word(fp);
      else if (rule->fp == P11T_FP_LOST)
        fp = 0;
      else if (rule->fp != 0) {
        uint64_t at = next + (uint64_t)(int64_t)rule->fp;
        if (at < sp) goto end;
        fp = word(at);
      }
      ip = word(next - 8);
    }
    sp = next;
    if (ip == 0) break;
  }
end:
  w->depth = n;
  w->hash = hash;
}
