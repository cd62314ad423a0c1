#include "decoder/report/report_part.h"

static uint64_t mix(uint64_t key, uint64_t value)
{
  return (key ^ value) * 0x9e3779b97f4a7c15u ^ (key >> 29);
}

/* Numbers, kinds of attributes and mechanisms, results of a search; not the contents of buffers. */
static uint64_t mix_value(uint64_t key, const struct value *v, int depth)
{
  key = mix(key, (uint64_t)v->what << 8 | v->pointer);
  switch (v->what) {
    case VALUE_NUMBER:
    case VALUE_ATTRIBUTE:
    case VALUE_VERSION:
    case VALUE_MECHANISM: key = mix(key, v->number); break;
    case VALUE_BYTES: return key;
    default: break;
  }
  for (size_t i = 0; i < v->count && i < 16 && depth < 4; i++) key = mix_value(key, &v->item[i], depth + 1);
  return mix(key, v->count);
}

uint64_t same_key(const struct call *call)
{
  uint64_t key = mix(call->function, call->rv);
  key = mix(key, (uint64_t)call->module << 32 | (uint64_t)call->state << 8 | (call->flags & P11T_PROBE));
  for (unsigned i = 0; i < call->info->arity && i < 10; i++) {
    switch (call->info->param[i].kind) {
      case P11_K_SESSION: continue; /* sessions come and go */
      case P11_K_OUT_SESSION: continue;
      case P11_K_OUT_OBJECT: continue; /* a new object each time */
      case P11_K_OUT_LENGTH: break;    /* what it was before means nothing where the buffer is NULL */
      default: key = mix_value(key, &call->arg[i].in, 0);
    }
    key = mix_value(key, &call->arg[i].out, 0);
  }
  return key ? key : 1;
}

int proof_order(const void *a, const void *b)
{
  const struct proof *x = a, *y = b;
  if (x->process != y->process) return x->process < y->process ? -1 : 1;
  return x->number < y->number ? -1 : x->number > y->number;
}

static bool is_proof(const struct report *r, const struct event *event)
{
  const struct proof at = {event->process->index, event->call->number};
  return r->proofs && bsearch(&at, r->proof, r->proofs, sizeof at, proof_order);
}

uint8_t row_flags(const struct report *r, const struct event *event, bool changes)
{
  const struct call *call = event->call;
  uint8_t flags = changes ? ROW_CHANGE : 0;
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
    case P11_F_C_Logout:
    case P11_F_C_SetPIN:
    case P11_F_C_InitPIN:
    case P11_F_C_InitToken: flags |= ROW_LOGIN; break;
    case P11_F_C_Initialize:
    case P11_F_C_Finalize: flags |= ROW_CHANGE; break;
    default: break;
  }
  switch (call->state) {
    case CALL_OPEN: flags |= ROW_OPEN; break;
    case CALL_ABANDONED: flags |= ROW_UNWOUND; break;
    case CALL_HEADLESS: flags |= ROW_HEADLESS; break;
    default: break;
  }
  if (!(flags & (ROW_OPEN | ROW_UNWOUND)) && call->rv != CKR_OK) flags |= ROW_FAILED;
  if (is_proof(r, event)) flags |= ROW_PROOF;
  if (call_is_probe(call)) flags |= ROW_PROBE;
  return flags;
}

enum row_weight row_weight(uint8_t flags)
{
  if (flags & ROW_PROOF) return WEIGHT_PROOF;
  if (flags & (ROW_LOGIN | ROW_OPEN | ROW_UNWOUND)) return WEIGHT_LOGIN;
  return flags & (ROW_FAILED | ROW_CHANGE) ? WEIGHT_TELLING : WEIGHT_ANY;
}
