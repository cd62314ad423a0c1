/* The stub, as data inside the decoder, so that `p11trace wrap` needs no other file than the recorder.
 * STUB_PATH is the built stub's path, in quotes. */
#ifndef STUB_PATH
#error "STUB_PATH must name the built stub"
#endif

__asm__(
    ".pushsection .rodata\n"
    ".balign 16\n"
    ".globl p11trace_stub_begin\n"
    ".hidden p11trace_stub_begin\n"
    ".type p11trace_stub_begin, %object\n"
    "p11trace_stub_begin:\n"
    ".incbin \"" STUB_PATH
    "\"\n"
    ".globl p11trace_stub_end\n"
    ".hidden p11trace_stub_end\n"
    ".type p11trace_stub_end, %object\n"
    "p11trace_stub_end:\n"
    ".byte 0\n"
    ".popsection\n");

typedef int p11trace_stub_blob_is_only_data;
