/* Call frame information: what the compiler says of how a function's caller is found (the tables that C++ exceptions use).
 * Reads .eh_frame through its index .eh_frame_hdr, both in memory; no lock, no allocation, no system call. x86-64. */
#ifndef RECORD_CFI_H
#define RECORD_CFI_H

#include <stdbool.h>
#include <stdint.h>

enum p11t_rule_kind {
  P11T_RULE_NONE,    /* no caller, or none that can be found */
  P11T_RULE_SP,      /* the caller's frame begins at sp + cfa */
  P11T_RULE_FP,      /* ... at fp + cfa */
  P11T_RULE_ALIGNED, /* ... at what is stored at fp + cfa: a function that aligned its own stack */
  P11T_RULE_SIGNAL   /* a signal's frame: what it interrupted is in the ucontext at sp */
};

#define P11T_FP_LOST 1

/* How a caller is found from a function's registers: its frame begins at `cfa` above one of them, the return address lies
 * 8 below that, the saved frame pointer, if it was saved, `fp` from it. */
struct p11t_rule {
  uint64_t pc;
  int32_t cfa;
  int16_t fp;     /* 0: not saved, the register still holds it; P11T_FP_LOST */
  uint8_t kind;   /* enum p11t_rule_kind */
  uint8_t object; /* place in the thread's table of mapped files */
};

/* Finds the rule for the instruction at `pc` of the file that is mapped at [start, end) and has its index at `index`.
 * Leaves pc and object alone. P11T_RULE_NONE for what the tables do not say or say in a way that compilers do not use. */
void p11t_cfi_rule(struct p11t_rule *rule, uint64_t pc, uint64_t start, uint64_t end, uint64_t index);

#endif
