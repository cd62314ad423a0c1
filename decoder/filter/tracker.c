#include "decoder/filter/tracker.h"

#include <stdlib.h>
#include <string.h>

/* Operations of a session that have a mechanism of their own. */
enum op {
  OP_ENCRYPT,
  OP_DECRYPT,
  OP_DIGEST,
  OP_SIGN,
  OP_VERIFY,
  OP_MESSAGE_ENCRYPT,
  OP_MESSAGE_DECRYPT,
  OP_MESSAGE_SIGN,
  OP_MESSAGE_VERIFY,
  OPS,
  OP_NONE = OPS
};

struct session {
  uint64_t handle;
  uint64_t slot;
  uint64_t mechanism[OPS];
  unsigned process;
  uint16_t module;
  bool used;
};

/* Open addressing; deletion moves the followers up, so that no graves fill the table. */
struct tracker {
  struct session *table;
  size_t size, count; /* size: a power of two */
};

struct tracker *tracker_new(void)
{
  struct tracker *t = calloc(1, sizeof *t);
  if (t == NULL) return NULL;
  t->size = 64;
  t->table = calloc(t->size, sizeof *t->table);
  if (t->table == NULL) {
    free(t);
    return NULL;
  }
  return t;
}

void tracker_free(struct tracker *t)
{
  if (t == NULL) return;
  free(t->table);
  free(t);
}

static size_t place(const struct tracker *t, unsigned process, unsigned module, uint64_t handle)
{
  uint64_t h = (handle ^ (uint64_t)process << 40 ^ (uint64_t)module << 24) * 0x9e3779b97f4a7c15u;
  return (size_t)(h >> 32) & (t->size - 1);
}

static struct session *find(const struct tracker *t, unsigned process, unsigned module, uint64_t handle)
{
  size_t i = place(t, process, module, handle);
  for (; t->table[i].used; i = (i + 1) & (t->size - 1)) {
    struct session *s = &t->table[i];
    if (s->handle == handle && s->process == process && s->module == module) return s;
  }
  return NULL;
}

static struct session *claim(struct tracker *t, unsigned process, unsigned module, uint64_t handle)
{
  size_t i = place(t, process, module, handle);
  while (t->table[i].used) i = (i + 1) & (t->size - 1);
  struct session *s = &t->table[i];
  *s = (struct session){
      .handle = handle, .slot = TRACKER_UNKNOWN, .process = process, .module = (uint16_t)module, .used = true};
  for (int op = 0; op < OPS; op++) s->mechanism[op] = TRACKER_UNKNOWN;
  t->count++;
  return s;
}

/* Keeps the table at most three quarters full; without memory new sessions are not followed. */
static bool grow(struct tracker *t)
{
  if ((t->count + 1) * 4 <= t->size * 3) return true;
  struct tracker bigger = {calloc(t->size * 2, sizeof *t->table), t->size * 2, 0};
  if (bigger.table == NULL) return t->count + 1 < t->size;
  for (size_t i = 0; i < t->size; i++) {
    if (!t->table[i].used) continue;
    *claim(&bigger, t->table[i].process, t->table[i].module, t->table[i].handle) = t->table[i];
  }
  free(t->table);
  *t = bigger;
  return true;
}

static void drop(struct tracker *t, struct session *s)
{
  size_t hole = (size_t)(s - t->table), mask = t->size - 1;
  for (size_t i = (hole + 1) & mask; t->table[i].used; i = (i + 1) & mask) {
    const struct session *c = &t->table[i];
    size_t home = place(t, c->process, c->module, c->handle);
    /* c may move into the hole when its home does not lie between the two. */
    if (((i - home) & mask) >= ((i - hole) & mask)) {
      t->table[hole] = *c;
      hole = i;
    }
  }
  t->table[hole].used = false;
  t->count--;
}

/* All sessions of a module, or of one slot of it. What drop moves comes into this place or from one already passed. */
static void drop_all(struct tracker *t, unsigned process, unsigned module, const uint64_t *slot)
{
  for (size_t i = 0; i < t->size; i++) {
    struct session *s = &t->table[i];
    while (s->used && s->process == process && s->module == module && (slot == NULL || s->slot == *slot)) drop(t, s);
  }
}

/* The parameter of that kind as it was given. */
static const struct value *given(const struct call *call, unsigned kind)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->info->param[i].kind == kind) return &call->arg[i].in;
  }
  return NULL;
}

bool tracker_session(const struct call *call, uint64_t *session)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *v = NULL;
    if (call->info->param[i].kind == P11_K_SESSION) v = &call->arg[i].in;
    if (call->info->param[i].kind == P11_K_OUT_SESSION) v = &call->arg[i].out;
    if (v == NULL || v->what != VALUE_NUMBER) continue;
    *session = v->number;
    return true;
  }
  return false;
}

uint64_t tracker_slot(const struct tracker *t, const struct process *process, const struct call *call)
{
  const struct value *slot = given(call, P11_K_SLOT);
  if (slot != NULL) return slot->what == VALUE_NUMBER ? slot->number : TRACKER_UNKNOWN;
  uint64_t handle;
  if (!tracker_session(call, &handle)) return TRACKER_UNKNOWN;
  const struct session *s = find(t, process->index, call->module, handle);
  return s != NULL ? s->slot : TRACKER_UNKNOWN;
}

static enum op op_of(int function)
{
  switch (function) {
    case P11_F_C_EncryptInit:
    case P11_F_C_Encrypt:
    case P11_F_C_EncryptUpdate:
    case P11_F_C_EncryptFinal: return OP_ENCRYPT;
    case P11_F_C_DecryptInit:
    case P11_F_C_Decrypt:
    case P11_F_C_DecryptUpdate:
    case P11_F_C_DecryptFinal: return OP_DECRYPT;
    case P11_F_C_DigestInit:
    case P11_F_C_Digest:
    case P11_F_C_DigestUpdate:
    case P11_F_C_DigestKey:
    case P11_F_C_DigestFinal: return OP_DIGEST;
    case P11_F_C_SignInit:
    case P11_F_C_Sign:
    case P11_F_C_SignUpdate:
    case P11_F_C_SignFinal:
    case P11_F_C_SignRecoverInit:
    case P11_F_C_SignRecover: return OP_SIGN;
    case P11_F_C_VerifyInit:
    case P11_F_C_Verify:
    case P11_F_C_VerifyUpdate:
    case P11_F_C_VerifyFinal:
    case P11_F_C_VerifyRecoverInit:
    case P11_F_C_VerifyRecover:
    case P11_F_C_VerifySignatureInit:
    case P11_F_C_VerifySignature:
    case P11_F_C_VerifySignatureUpdate:
    case P11_F_C_VerifySignatureFinal: return OP_VERIFY;
    case P11_F_C_MessageEncryptInit:
    case P11_F_C_EncryptMessage:
    case P11_F_C_EncryptMessageBegin:
    case P11_F_C_EncryptMessageNext:
    case P11_F_C_MessageEncryptFinal: return OP_MESSAGE_ENCRYPT;
    case P11_F_C_MessageDecryptInit:
    case P11_F_C_DecryptMessage:
    case P11_F_C_DecryptMessageBegin:
    case P11_F_C_DecryptMessageNext:
    case P11_F_C_MessageDecryptFinal: return OP_MESSAGE_DECRYPT;
    case P11_F_C_MessageSignInit:
    case P11_F_C_SignMessage:
    case P11_F_C_SignMessageBegin:
    case P11_F_C_SignMessageNext:
    case P11_F_C_MessageSignFinal: return OP_MESSAGE_SIGN;
    case P11_F_C_MessageVerifyInit:
    case P11_F_C_VerifyMessage:
    case P11_F_C_VerifyMessageBegin:
    case P11_F_C_VerifyMessageNext:
    case P11_F_C_MessageVerifyFinal: return OP_MESSAGE_VERIFY;
    default: return OP_NONE; /* two operations at once (C_DigestEncryptUpdate ...) have no one mechanism */
  }
}

uint64_t tracker_mechanism(const struct tracker *t, const struct process *process, const struct call *call)
{
  const struct value *m = given(call, P11_K_MECHANISM);
  if (m != NULL) return m->what == VALUE_MECHANISM && m->count > 0 ? m->number : TRACKER_UNKNOWN;
  if (call->known == P11_F_C_GetMechanismInfo) {
    const struct value *type = given(call, P11_K_ENUM);
    return type != NULL && type->what == VALUE_NUMBER ? type->number : TRACKER_UNKNOWN;
  }
  enum op op = op_of(call->known);
  uint64_t handle;
  if (op == OP_NONE || !tracker_session(call, &handle)) return TRACKER_UNKNOWN;
  const struct session *s = find(t, process->index, call->module, handle);
  return s != NULL ? s->mechanism[op] : TRACKER_UNKNOWN;
}

void tracker_see(struct tracker *t, const struct process *process, const struct call *call)
{
  if (call->state != CALL_DONE || call->rv != CKR_OK) return;
  const unsigned index = process->index;
  uint64_t handle;
  switch (call->known) {
    case P11_F_C_OpenSession: {
      const struct value *slot = given(call, P11_K_SLOT);
      if (slot == NULL || !tracker_session(call, &handle)) return;
      struct session *s = find(t, index, call->module, handle);
      if (s != NULL) drop(t, s); /* a handle that came back: its close was not seen */
      if (!grow(t)) return;
      claim(t, index, call->module, handle)->slot = slot->number;
      return;
    }
    case P11_F_C_CloseSession: {
      struct session *s = tracker_session(call, &handle) ? find(t, index, call->module, handle) : NULL;
      if (s != NULL) drop(t, s);
      return;
    }
    case P11_F_C_CloseAllSessions: {
      const struct value *slot = given(call, P11_K_SLOT);
      if (slot != NULL && slot->what == VALUE_NUMBER) drop_all(t, index, call->module, &slot->number);
      return;
    }
    case P11_F_C_Finalize: drop_all(t, index, call->module, NULL); return;
    default: break;
  }
  const struct value *m = given(call, P11_K_MECHANISM);
  enum op op = op_of(call->known);
  if (m == NULL || op == OP_NONE || m->count == 0 || !tracker_session(call, &handle)) return;
  struct session *s = find(t, index, call->module, handle);
  if (s == NULL) {
    /* Opened before the trace began. */
    if (!grow(t)) return;
    s = claim(t, index, call->module, handle);
  }
  s->mechanism[op] = m->number;
}
