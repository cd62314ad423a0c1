#include "decoder/replay/call_copy.h"

#include <string.h>

/* The box lies in the bytes as they are in the file. */
static const struct value_sealed *sealed_copy(const struct value_sealed *from, struct arena *memory)
{
  struct value_sealed *to = arena_alloc(memory, sizeof *to);
  *to = *from;
  to->box = memcpy(arena_alloc(memory, from->kept + P11T_SEAL_MAC), from->box, from->kept + P11T_SEAL_MAC);
  return to;
}

void value_copy(struct value *to, const struct value *from, struct arena *memory)
{
  *to = *from;
  /* With a NUL behind it: texts are read as such. */
  if (from->bytes) to->bytes = (const uint8_t *)arena_text(memory, from->bytes, from->kept);
  if (from->what == VALUE_BYTES && from->form == P11T_V_SEALED && from->sealed)
    to->sealed = sealed_copy(from->sealed, memory);
  if (!from->item || !from->count) return;
  to->item = arena_alloc(memory, from->count * sizeof *to->item);
  for (size_t i = 0; i < from->count; i++) value_copy(&to->item[i], &from->item[i], memory);
}

void call_copy(struct call *to, const struct call *from, struct arena *memory)
{
  *to = *from;
  to->thread = from->thread[0] ? arena_text(memory, from->thread, strlen(from->thread)) : "";
  to->stack = NULL;
  if (from->depth)
    to->stack =
        memcpy(arena_alloc(memory, from->depth * sizeof *to->stack), from->stack, from->depth * sizeof *to->stack);
  for (unsigned i = 0; i < from->info->arity && i < 10; i++) {
    value_copy(&to->arg[i].in, &from->arg[i].in, memory);
    value_copy(&to->arg[i].out, &from->arg[i].out, memory);
  }
}
