/* Frames of call stacks as text and as JSON. */
#ifndef SHOW_STACK_H
#define SHOW_STACK_H

#include <jansson.h>

#include "decoder/show/text.h"
#include "decoder/symbols/symbols.h"

/* "libnss3.so PK11_InitToken+0x1f2 pk11slot.c:1234", "libnss3.so+0x1f2a0", "0x7f..."; raw: path, build id and link-time
 * address. */
void stack_frame(struct text *out, struct symbols *symbols, const struct process *process, uint64_t address, bool raw);

/* The calling function without the place in it: "libnss3.so PK11_InitToken", or as above. */
void stack_function(struct text *out, const struct symbol_frame *frame);

/* The lines below a call. */
void stack_lines(struct text *out, struct symbols *symbols, const struct process *process, const struct call *call,
                 bool raw);

/* List of objects, as JSON.md describes. */
json_t *stack_json(struct symbols *symbols, const struct process *process, const struct call *call);

#endif
