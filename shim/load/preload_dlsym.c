/* dlsym, as LD_PRELOAD interposes it. A lookup that is not ours must reach the next dlsym with the caller's own return
 * address, because RTLD_NEXT and RTLD_DEFAULT depend on who asks: a jump, which no compiler can be relied upon to make of a
 * call. And it must reach it without a call into libc: a sanitizer's runtime looks up the functions that it replaces
 * before they work. So the first letter is looked at here; names of ours begin with C, N or F.
 *
 * For another machine: the same twenty lines; p11t_preload_lookup returns its two words as the ABI returns a structure of
 * two words. */
#include "shim/load/preload.h"

#if defined __x86_64__
__asm__(
    ".text\n"
    ".globl dlsym\n"
    ".type dlsym, @function\n"
    ".p2align 4\n"
    "dlsym:\n"
    "  .cfi_startproc\n"
    "  endbr64\n"
    "  testq %rsi, %rsi\n"
    "  je 1f\n"
    "  movzbl (%rsi), %eax\n"
    "  cmpb $'C', %al\n"
    "  je 2f\n"
    "  cmpb $'N', %al\n"
    "  je 2f\n"
    "  cmpb $'F', %al\n"
    "  je 2f\n"
    "1:\n"
    "  movq p11t_next_dlsym(%rip), %rax\n"
    "  testq %rax, %rax\n"
    "  je 3f\n"
    "  jmp *%rax\n"
    "2:\n" /* p11t_preload_lookup(handle, name, return address) */
    "  movq (%rsp), %rdx\n"
    "  pushq %rdi\n"
    "  .cfi_adjust_cfa_offset 8\n"
    "  pushq %rsi\n"
    "  .cfi_adjust_cfa_offset 8\n"
    "  subq $8, %rsp\n"
    "  .cfi_adjust_cfa_offset 8\n"
    "  call p11t_preload_lookup\n"
    "  addq $8, %rsp\n"
    "  .cfi_adjust_cfa_offset -8\n"
    "  popq %rsi\n"
    "  .cfi_adjust_cfa_offset -8\n"
    "  popq %rdi\n"
    "  .cfi_adjust_cfa_offset -8\n"
    "  testq %rdx, %rdx\n"
    "  je 1b\n"
    "  ret\n"
    "3:\n"
    "  pushq %rdi\n"
    "  .cfi_adjust_cfa_offset 8\n"
    "  pushq %rsi\n"
    "  .cfi_adjust_cfa_offset 8\n"
    "  subq $8, %rsp\n"
    "  .cfi_adjust_cfa_offset 8\n"
    "  call p11t_preload_resolve\n"
    "  addq $8, %rsp\n"
    "  .cfi_adjust_cfa_offset -8\n"
    "  popq %rsi\n"
    "  .cfi_adjust_cfa_offset -8\n"
    "  popq %rdi\n"
    "  .cfi_adjust_cfa_offset -8\n"
    "  jmp 1b\n"
    "  .cfi_endproc\n"
    ".size dlsym, . - dlsym\n");
#else
#error "write dlsym for this machine"
#endif
