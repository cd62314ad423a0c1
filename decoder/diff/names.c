#include "decoder/diff/names.h"

#include <stdlib.h>

#include "decoder/diff/hash.h"
#include "decoder/diff/shape.h"
#include "decoder/filter/tracker.h"
#include "decoder/read/arena.h"

enum { NAME_SLOT = 1, NAME_SESSION, NAME_OBJECT, NAME_UNKNOWN, NAME_VALUE, NAME_SET };
enum { FRESH = 16 }; /* bytes: what is shorter is no key's value */

void names_start(struct names *names, const struct module_seen *module, bool ordinals)
{
  *names = (struct names){.module = module, .ordinals = ordinals};
  names->ring = read_zalloc(NAMES_MADE * sizeof *names->ring);
  names->value = read_zalloc(NAMES_VALUES * sizeof *names->value);
}

void names_free(struct names *names)
{
  table_clear(&names->sessions, free);
  table_clear(&names->made, NULL);
  table_clear(&names->alike, NULL);
  table_clear(&names->set, NULL);
  free(names->slot);
  free(names->ring);
  free(names->value);
}

uint64_t object_key(uint64_t handle, unsigned generation)
{
  return generation ? hash_mix(handle, generation) : handle;
}

uint64_t names_slot(const struct names *names, uint64_t id)
{
  for (size_t i = 0; names->module && i < names->module->slots; i++)
    if (names->module->slot[i].id == id) return names->module->slot[i].name;
  return hash_mix(NAME_SLOT, id);
}

uint64_t names_session(const struct names *names, uint64_t handle)
{
  if (handle == CK_INVALID_HANDLE) return 0;
  const struct names_session *s = table_get(&names->sessions, handle);
  return s ? hash_mix(s->name, s->ordinal) : NAME_UNKNOWN;
}

uint64_t names_slot_of(const struct names *names, uint64_t session)
{
  const struct names_session *s = table_get(&names->sessions, session);
  return s ? s->slot : UINT64_MAX;
}

bool names_is_made(const struct names *names, uint64_t handle)
{
  return table_get(&names->made, object_key(handle, names->generation)) != NULL;
}

uint64_t names_object(const struct names *names, uint64_t handle)
{
  if (handle == CK_INVALID_HANDLE) return 0;
  const uint64_t key = object_key(handle, names->generation);
  const uintptr_t made = (uintptr_t)table_get(&names->made, key);
  if (made) return names->ring[made - 1].name;
  if (!names->module) return NAME_UNKNOWN;
  const uintptr_t found = (uintptr_t)table_get(&names->module->by_key, key);
  return found ? names->module->object[found - 1].name : NAME_UNKNOWN;
}

/* A function that works on an operation of its session: its chapter; else P11_GROUP_COUNT. *begins: it starts one. */
static unsigned operation_of(const struct call *call, bool *begins)
{
  const struct p11_function_info *info = call->info;
  *begins = false;
  if ((info->class != P11_CLASS_OPERATION && info->class != P11_CLASS_FIND) || info->arity == 0 ||
      info->param[0].kind != P11_K_SESSION)
    return P11_GROUP_COUNT;
  for (unsigned i = 1; i < info->arity; i++)
    if (info->param[i].kind == P11_K_MECHANISM || info->param[i].kind == P11_K_TEMPLATE) *begins = true;
  return info->group;
}

uint64_t names_begun(const struct names *names, const struct call *call)
{
  bool begins;
  const unsigned group = operation_of(call, &begins);
  if (group == P11_GROUP_COUNT || begins) return 0;
  const struct names_session *s = table_get(&names->sessions, call->arg[0].in.number);
  return s ? s->begun[group] : 0;
}

static bool known_value(struct names *names, uint64_t hash, bool add)
{
  size_t i = (size_t)hash & (NAMES_VALUES - 1);
  while (names->value[i] && names->value[i] != hash) i = (i + 1) & (NAMES_VALUES - 1);
  if (names->value[i]) return true;
  if (add && names->values < NAMES_VALUES / 2) {
    names->value[i] = hash;
    names->values++;
  }
  return false;
}

uint64_t names_value(struct names *names, const uint8_t *bytes, size_t size)
{
  const uint64_t hash = hash_bytes(NAME_VALUE, bytes, size);
  if (size < FRESH) return hash;
  if (known_value(names, hash, !names->generated) || !names->generated) return hash;
  const uintptr_t set = (uintptr_t)table_get(&names->set, hash);
  return set ? hash_mix(NAME_SET, set) : NAME_VALUE;
}

/* The CKA_ID that NSS makes of a new key is another one in each run, but a module must give it back as it got it. In threads
 * it is chance who comes first. */
static void note_set(struct names *names, const struct value *template)
{
  if (!names->generated || !names->ordinals || template->what != VALUE_TEMPLATE) return;
  for (size_t i = 0; i < template->count; i++) {
    const struct value *a = &template->item[i];
    if (a->count == 0 || a->item->what != VALUE_BYTES || a->item->form != P11T_V_FULL || a->item->kept < FRESH)
      continue;
    const uint64_t hash = hash_bytes(NAME_VALUE, a->item->bytes, a->item->kept);
    if (known_value(names, hash, false) || names->set.count >= NAMES_MADE) continue;
    if (!table_get(&names->set, hash))
      table_put(&names->set, hash, (void *)(uintptr_t)(a->number + 1)); /* NOLINT: a number in a table of pointers */
  }
}

static struct names_slot *slot_of(struct names *names, uint64_t id)
{
  for (size_t i = 0; i < names->slots; i++)
    if (names->slot[i].id == id) return &names->slot[i];
  if (names->slots % 16 == 0) names->slot = read_realloc(names->slot, (names->slots + 16) * sizeof *names->slot);
  names->slot[names->slots] = (struct names_slot){.id = id};
  return &names->slot[names->slots++];
}

/* Calls that may change who is logged in: the chapter of logins, and what ends sessions. */
static bool changes_login(const struct call *call)
{
  return call->info->class == P11_CLASS_LOGIN || call->known == P11_F_C_CloseSession ||
         call->known == P11_F_C_CloseAllSessions;
}

static uint64_t slot_of_call(const struct names *names, const struct call *call)
{
  if (call->info->arity == 0) return UINT64_MAX;
  const uint8_t kind = call->info->param[0].kind;
  if (kind == P11_K_SLOT) return call->arg[0].in.number;
  return kind == P11_K_SESSION ? names_slot_of(names, call->arg[0].in.number) : UINT64_MAX;
}

void names_enter(struct names *names, const struct call *call)
{
  if (!changes_login(call)) return;
  const uint64_t id = slot_of_call(names, call);
  if (id != UINT64_MAX) slot_of(names, id)->changing++;
}

uint64_t names_login(const struct names *names, const struct call *call, bool *unsure)
{
  const uint64_t id = slot_of_call(names, call);
  for (size_t i = 0; i < names->slots; i++) {
    const struct names_slot *s = &names->slot[i];
    if (s->id != id) continue;
    *unsure = s->changing > (changes_login(call) ? 1u : 0u) || s->changed > call->number;
    return s->login;
  }
  return 0;
}

static void set_login(struct names_slot *slot, uint64_t login, const struct call *call)
{
  if (slot->login == login) return;
  slot->login = login;
  slot->changed = call->end_number;
}

static void login_leaves(struct names *names, const struct call *call, struct names_slot *slot)
{
  if (slot->changing > 0) slot->changing--;
  if (call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser) {
    const uint64_t user = call->arg[1].in.number;
    if ((call->rv == CKR_OK || call->rv == CKR_USER_ALREADY_LOGGED_IN) && user != CKU_CONTEXT_SPECIFIC)
      set_login(slot, user + 1, call);
  } else if (call->rv != CKR_OK) {
    return;
  } else if (call->known == P11_F_C_Logout || call->known == P11_F_C_InitToken) {
    set_login(slot, 0, call);
  } else if (call->known == P11_F_C_CloseSession) {
    struct names_session *s = table_take(&names->sessions, call->arg[0].in.number);
    free(s);
    if (s && slot->open > 0 && --slot->open == 0) set_login(slot, 0, call);
  }
}

static void close_all(struct names *names, const struct call *call, uint64_t slot, bool all)
{
  size_t place = 0;
  for (struct names_session *s; (s = table_next(&names->sessions, &place));) {
    if (!all && s->slot != slot) continue;
    table_take(&names->sessions, s->handle);
    free(s);
    place = 0;
  }
  for (size_t i = 0; i < names->slots; i++) {
    if (!all && names->slot[i].id != slot) continue;
    set_login(&names->slot[i], 0, call);
    names->slot[i].open = 0;
  }
}

/* The lowest number that no open session of the slot has; sessions beyond 64 share one. */
static unsigned lowest(const struct names *names, uint64_t slot)
{
  uint64_t taken = 0;
  size_t place = 0;
  for (const struct names_session *s; (s = table_next(&names->sessions, &place));)
    if (s->slot == slot && s->ordinal < 64) taken |= UINT64_C(1) << s->ordinal;
  unsigned at = 0;
  while (at < 64 && taken >> at & 1) at++;
  return at;
}

static void opened(struct names *names, const struct call *call)
{
  const uint64_t handle = call->arg[call->info->arity - 1].out.number, slot = call->arg[0].in.number;
  struct names_session *s = table_get(&names->sessions, handle);
  if (!s) {
    s = read_zalloc(sizeof *s);
    table_put(&names->sessions, handle, s);
    s->ordinal = UINT32_MAX; /* it is in the table already */
    slot_of(names, slot)->open++;
  }
  s->handle = handle;
  s->slot = slot;
  s->name = hash_mix(hash_mix(NAME_SESSION, names_slot(names, slot)), call->arg[1].in.number & CKF_RW_SESSION);
  s->ordinal = names->ordinals ? lowest(names, slot) : 0;
}

static void count_alike(struct names *names, uint64_t kind, int more)
{
  const uintptr_t count = (uintptr_t)table_take(&names->alike, kind) + (uintptr_t)more;
  if (count) table_put(&names->alike, kind, (void *)count); /* NOLINT: a number in a table of pointers */
}

static void forget_made(struct names *names, uint64_t key)
{
  const uintptr_t at = (uintptr_t)table_take(&names->made, key);
  if (!at) return;
  count_alike(names, names->ring[at - 1].kind, -1);
  names->ring[at - 1].key = 0;
}

static void made(struct names *names, uint64_t handle, uint64_t kind)
{
  const uint64_t key = object_key(handle, names->generation);
  const size_t at = (size_t)(names->made_count++ % NAMES_MADE);
  if (names->ring[at].key) forget_made(names, names->ring[at].key);
  forget_made(names, key);
  names->ring[at].key = key;
  names->ring[at].kind = kind;
  names->ring[at].name = names->ordinals ? hash_mix(kind, (uintptr_t)table_get(&names->alike, kind)) : kind;
  count_alike(names, kind, 1);
  table_put(&names->made, key, (void *)(uintptr_t)(at + 1)); /* NOLINT: a number in a table of pointers */
}

/* The name of what a call makes: by what, of which class, kind and label. Not by all of the template: one flag that
 * is set otherwise would make every later call with the object a difference. */
static uint64_t made_by(struct names *names, const struct call *call)
{
  uint64_t name = hash_text(NAME_OBJECT, call->info->name);
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *v = &call->arg[i].in;
    if (v->what == VALUE_MECHANISM) name = hash_mix(name, v->number);
    for (size_t k = 0; v->what == VALUE_TEMPLATE && k < v->count; k++) {
      const uint64_t type = v->item[k].number;
      if (type == CKA_CLASS || type == CKA_KEY_TYPE || type == CKA_TOKEN || type == CKA_LABEL)
        name = hash_mix(hash_mix(name, type), shape_attribute(names, &v->item[k]));
    }
  }
  return name;
}

void names_leave(struct names *names, const struct call *call, uint64_t question)
{
  if (call->state != CALL_DONE) return;
  if (changes_login(call)) {
    const uint64_t id = slot_of_call(names, call);
    if (id != UINT64_MAX) login_leaves(names, call, slot_of(names, id));
  }
  bool begins;
  const unsigned group = operation_of(call, &begins);
  if (begins) {
    struct names_session *s = table_get(&names->sessions, call->arg[0].in.number);
    if (s) s->begun[group] = question;
  }
  if (call->rv != CKR_OK) return;
  switch (call->known) {
    case P11_F_C_OpenSession: opened(names, call); return;
    case P11_F_C_CloseAllSessions: close_all(names, call, call->arg[0].in.number, false); return;
    case P11_F_C_Finalize:
      close_all(names, call, 0, true);
      table_clear(&names->made, NULL);
      table_clear(&names->alike, NULL);
      memset(names->ring, 0, NAMES_MADE * sizeof *names->ring);
      names->generation++;
      return;
    case P11_F_C_DestroyObject: {
      const uintptr_t at = (uintptr_t)table_take(&names->made, object_key(call->arg[1].in.number, names->generation));
      if (at) names->ring[at - 1].key = 0; /* the handle may be given out again before the ring comes round */
      return;
    }
    default: break;
  }
  if (call->info->class != P11_CLASS_OBJECT) return;
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->info->param[i].kind == P11_K_TEMPLATE) note_set(names, &call->arg[i].in);
    if (call->info->param[i].kind != P11_K_OUT_OBJECT || call->arg[i].out.what != VALUE_NUMBER) continue;
    made(names, call->arg[i].out.number, hash_mix(made_by(names, call), i));
    if (call->known == P11_F_C_GenerateKey || call->known == P11_F_C_GenerateKeyPair) names->generated = true;
  }
}
