#include "decoder/replay/widen.h"

enum { NARROW = 4, NARROW_ATTRIBUTE = 3 * NARROW };

static uint64_t wider(uint64_t type, uint64_t length)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  if (info == NULL || length == CK_UNAVAILABLE_INFORMATION) return length;
  switch (info->kind) {
    case P11_A_NUMBER:
    case P11_A_ENUM:
    case P11_A_MECHANISMS: return length % NARROW == 0 ? length / NARROW * sizeof(CK_ULONG) : length;
    case P11_A_TEMPLATE:
      return length % NARROW_ATTRIBUTE == 0 ? length / NARROW_ATTRIBUTE * sizeof(CK_ATTRIBUTE) : length;
    default: return length;
  }
}

/* What was asked has the types; what came back stands in the same order. */
static void widen_attributes(const struct value *asked, const struct value *answered)
{
  for (size_t i = 0; i < asked->count; i++) asked->item[i].length = wider(asked->item[i].number, asked->item[i].length);
  for (size_t i = 0; i < answered->count && i < asked->count; i++)
    answered->item[i].length = wider(asked->item[i].number, answered->item[i].length);
}

void widen(const struct process *process, const struct call *call)
{
  if (process->word_bits != 8 * NARROW || sizeof(CK_ULONG) == NARROW) return;
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_OUT_TEMPLATE) widen_attributes(&call->arg[i].in, &call->arg[i].out);
}
