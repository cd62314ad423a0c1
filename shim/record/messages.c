#include "shim/record/messages.h"

#include <stdatomic.h>

#include "shim/spec/spec.h"

/* An entry is one word, so that it is read whole: 32 bits of the session's hash and the mechanism. Another session in its
 * place only costs detail: the parameter is then recorded by length and tag. */
static _Atomic uint64_t table[256];

static uint64_t hash(unsigned module, uint64_t session)
{
  return (session * 4096 + module + 1) * 0x9e3779b97f4a7c15u;
}

void p11t_message_begins(unsigned module, uint64_t session, uint64_t mechanism)
{
  uint64_t h = hash(module, session);
  if (mechanism > UINT32_MAX) return;
  atomic_store_explicit(&table[h >> 56], h << 32 | mechanism, memory_order_relaxed);
}

unsigned p11t_message_structure(unsigned module, uint64_t session, uint64_t size)
{
  uint64_t h = hash(module, session), entry = atomic_load_explicit(&table[h >> 56], memory_order_relaxed);
  return entry != 0 && entry >> 32 == (uint32_t)h ? p11_message_struct(entry & UINT32_MAX, size) : P11_S_NONE;
}
