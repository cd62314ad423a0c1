/* What the trace knows of each object: one pass over the calls of a module. */
#include "decoder/replay/portrait.h"
#include "decoder/replay/call_copy.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/model/pick.h"
#include "decoder/model/table.h"
#include "decoder/read/arena.h"
#include "decoder/replay/call_copy.h"
#include "decoder/replay/portrait_part.h"

#define MOST_ATTRIBUTES 128 /* of one object */

/* A session while its trace is read. */
struct session {
  uint64_t slot;
  struct value search; /* the template of C_FindObjectsInit, in an arena of its own */
  struct arena memory;
  bool made; /* objects */
};

struct portraits_reading {
  struct portraits *portraits;
  struct table sessions;
  struct table logins; /* slot -> itself while somebody is logged in */
};

struct value portrait_copy(struct arena *arena, const struct value *v)
{
  struct value copy;
  value_copy(&copy, v, arena);
  return copy;
}

static struct portrait_entry *latest(const struct portraits_reading *r, uint64_t handle)
{
  struct portrait_entry *entry = table_get(&r->portraits->handles, handle);
  return entry && entry->portrait.to == UINT64_MAX ? entry : NULL;
}

/* The object that gets `handle` now. One that had it before is gone. */
static struct portrait_entry *begin(struct portraits_reading *r, uint64_t handle, const struct call *call,
                                    uint64_t slot)
{
  struct portraits *p = r->portraits;
  struct portrait_entry *before = table_get(&p->handles, handle);
  if (before && before->portrait.to == UINT64_MAX) before->portrait.to = call->number;
  struct portrait_entry *entry = arena_alloc(&p->memory, sizeof *entry);
  entry->portrait = (struct portrait){.handle = handle, .from = call->number, .to = UINT64_MAX, .slot = slot};
  entry->portrait.user = table_get(&r->logins, slot) != NULL;
  entry->before = before;
  table_put(&p->handles, handle, entry);
  if (p->last)
    p->last->next = entry;
  else
    p->first = entry;
  p->last = entry;
  return entry;
}

static bool is_full(const struct value *attribute)
{
  if (!attribute->count) return false;
  const struct value *v = &attribute->item[0];
  return v->what != VALUE_BYTES || v->form == P11T_V_FULL;
}

static bool says_something(const struct value *attribute)
{
  if (!attribute->count || attribute->item[0].what == VALUE_NONE) return false;
  const struct value *v = &attribute->item[0];
  return v->what != VALUE_BYTES ||
         (v->form != P11T_V_NULL && v->form != P11T_V_UNAVAILABLE && v->form != P11T_V_UNREAD);
}

/* One attribute more. What was known first stays, unless it was not known in full. */
static void know(struct portraits *p, struct portrait_entry *entry, const struct value *attribute)
{
  if (!says_something(attribute)) return;
  struct portrait *portrait = &entry->portrait;
  for (size_t i = 0; i < portrait->count; i++) {
    if (entry->attribute[i].number != attribute->number) continue;
    if (!is_full(&entry->attribute[i]) && is_full(attribute))
      entry->attribute[i] = portrait_copy(&p->memory, attribute);
    return;
  }
  if (portrait->count == MOST_ATTRIBUTES) return;
  if (portrait->count == entry->room) {
    const size_t room = entry->room ? 2 * entry->room : 16;
    struct value *grown = arena_alloc(&p->memory, room * sizeof *grown);
    if (entry->attribute) memcpy(grown, entry->attribute, entry->room * sizeof *grown);
    entry->attribute = grown;
    entry->room = room;
  }
  entry->attribute[portrait->count++] = portrait_copy(&p->memory, attribute);
  portrait->attribute = entry->attribute;
}

static void know_all(struct portraits *p, struct portrait_entry *entry, const struct value *template)
{
  for (size_t i = 0; i < template->count; i++)
    if (template->item[i].what == VALUE_ATTRIBUTE) know(p, entry, &template->item[i]);
}

static struct session *session_of(const struct portraits_reading *r, const struct call *call)
{
  const int at = pick_kind(call, P11_K_SESSION);
  return at < 0 ? NULL : table_get(&r->sessions, call->arg[at].in.number);
}

/* Objects that a search found: what it looked for is true of them. */
static void found(struct portraits_reading *r, const struct call *call, const struct session *session,
                  const struct value *list)
{
  const uint64_t slot = session ? session->slot : 0;
  for (size_t i = 0; i < list->count; i++) {
    struct portrait_entry *entry = latest(r, list->item[i].number);
    if (!entry) entry = begin(r, list->item[i].number, call, slot);
    if (!table_get(&r->logins, slot)) entry->portrait.user = false;
    if (session) know_all(r->portraits, entry, &session->search);
  }
}

/* Objects that a call made: of a key pair the first template is of the first handle, the second of the second. */
static void made(struct portraits_reading *r, const struct call *call, struct session *session)
{
  const struct value *template[2] = {NULL, NULL};
  unsigned templates = 0, handles = 0;
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_TEMPLATE && templates < 2) template[templates++] = &call->arg[i].in;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    if (call->info->param[i].kind != P11_K_OUT_OBJECT || out->what != VALUE_NUMBER || out->number == 0) continue;
    const struct portrait_entry *source = NULL;
    const int from = pick_kind(call, P11_K_OBJECT);
    if (call->known == P11_F_C_CopyObject && from >= 0) source = latest(r, call->arg[from].in.number);
    struct portrait_entry *entry = begin(r, out->number, call, session ? session->slot : 0);
    entry->portrait.made = true;
    entry->session = session;
    if (session) session->made = true;
    const struct value *said = template[handles < templates ? handles : templates ? templates - 1 : 0];
    if (templates && said) know_all(r->portraits, entry, said);
    for (size_t k = 0; source && k < source->portrait.count; k++) know(r->portraits, entry, &source->attribute[k]);
    handles++;
  }
}

static void end_all(struct portraits_reading *r, uint64_t number, const struct session *session)
{
  for (struct portrait_entry *e = r->portraits->first; e; e = e->next) {
    if (e->portrait.to != UINT64_MAX || (session && e->session != session)) continue;
    uint64_t token = 0;
    for (size_t i = 0; session && i < e->portrait.count; i++)
      if (e->attribute[i].number == CKA_TOKEN && e->attribute[i].count) token = e->attribute[i].item[0].number;
    /* A session takes along what it made and did not keep on the token. */
    if (!session || !token) e->portrait.to = number;
    if (session) e->session = NULL;
  }
}

static void drop(void *value)
{
  arena_free(&((struct session *)value)->memory);
  free(value);
}

static bool slot_has_session(const struct portraits_reading *r, uint64_t slot)
{
  const struct session *s;
  for (size_t place = 0; (s = table_next(&r->sessions, &place));)
    if (s->slot == slot) return true;
  return false;
}

static void close_session(struct portraits_reading *r, uint64_t handle, uint64_t number)
{
  struct session *session = table_take(&r->sessions, handle);
  if (!session) return;
  if (session->made) end_all(r, number, session);
  if (!slot_has_session(r, session->slot)) table_take(&r->logins, session->slot);
  drop(session);
}

static void close_slot(struct portraits_reading *r, uint64_t slot, uint64_t number)
{
  for (size_t i = 0; i < r->sessions.room; i++) {
    const struct session *session = r->sessions.entry[i].value;
    if (!session || session->slot != slot) continue;
    close_session(r, r->sessions.entry[i].key, number);
    i = (size_t)-1; /* the table has moved */
  }
}

static void sessions_and_logins(struct portraits_reading *r, const struct call *call, struct session *session)
{
  const int slot = pick_kind(call, P11_K_SLOT), at = pick_kind(call, P11_K_SESSION);
  switch (call->known) {
    case P11_F_C_OpenSession: {
      const int out = pick_kind(call, P11_K_OUT_SESSION);
      if (slot < 0 || out < 0 || call->arg[out].out.what != VALUE_NUMBER) break;
      struct session *opened = model_alloc(sizeof *opened);
      opened->slot = call->arg[slot].in.number;
      opened = table_put(&r->sessions, call->arg[out].out.number, opened);
      if (opened) drop(opened);
      break;
    }
    case P11_F_C_CloseSession:
      if (at >= 0) close_session(r, call->arg[at].in.number, call->number);
      break;
    case P11_F_C_CloseAllSessions:
      if (slot >= 0) close_slot(r, call->arg[slot].in.number, call->number);
      break;
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
      if (session) table_put(&r->logins, session->slot, r);
      break;
    case P11_F_C_Logout:
      if (session) table_take(&r->logins, session->slot);
      break;
    case P11_F_C_Finalize:
      end_all(r, call->number, NULL);
      table_clear(&r->sessions, drop);
      table_clear(&r->logins, NULL);
      break;
    default: break;
  }
}

/* The label of a slot's token, for those who look for the slot today. */
static void token_label(struct portraits *p, const struct call *call)
{
  const int slot = pick_kind(call, P11_K_SLOT), out = pick_kind(call, P11_K_OUT_STRUCT);
  if (slot < 0 || out < 0) return;
  const struct value *label = pick_member(call, (unsigned)out, P11_S_CK_TOKEN_INFO, offsetof(CK_TOKEN_INFO, label));
  if (!label || label->form != P11T_V_FULL || label->kept != 32) return;
  if (!table_get(&p->labels, call->arg[slot].in.number))
    table_put(&p->labels, call->arg[slot].in.number, arena_text(&p->memory, label->bytes, label->kept));
}

static void take(struct portraits_reading *r, const struct call *call)
{
  struct portraits *p = r->portraits;
  struct session *session = session_of(r, call);
  if (call->known == P11_F_C_GetAttributeValue) {
    /* Values that could be had are there, even when the call failed for others. */
    const int object = pick_kind(call, P11_K_OBJECT), template = pick_kind(call, P11_K_OUT_TEMPLATE);
    if (object < 0 || template <0) return;
    struct portrait_entry *entry = latest(r, call->arg[object].in.number);
    if (!entry && call->rv == CKR_OK) entry = begin(r, call->arg[object].in.number, call, session ? session->slot : 0);
    if (entry) know_all(p, entry, &call->arg[template].out);
    return;
  }
  if (call->rv != CKR_OK) return;
  if (call->known == P11_F_C_FindObjectsInit && session) {
    const int template = pick_kind(call, P11_K_TEMPLATE);
    arena_reset(&session->memory);
    session->search = (struct value){0};
    if (template >= 0) session->search = portrait_copy(&session->memory, &call->arg[template].in);
  }
  if (call->known == P11_F_C_GetTokenInfo) token_label(p, call);
  if (call->known == P11_F_C_DestroyObject) {
    const int object = pick_kind(call, P11_K_OBJECT);
    struct portrait_entry *entry = object < 0 ? NULL : latest(r, call->arg[object].in.number);
    if (entry) entry->portrait.to = call->number;
  }
  const int list = pick_kind(call, P11_K_OUT_OBJECTS);
  if (list >= 0) found(r, call, session, &call->arg[list].out);
  made(r, call, session);
  sessions_and_logins(r, call, session);
}

struct portraits_reading *portraits_begin(void)
{
  struct portraits_reading *r = model_alloc(sizeof *r);
  r->portraits = model_alloc(sizeof *r->portraits);
  return r;
}

void portraits_see(struct portraits_reading *r, const struct call *call)
{
  if (call->state == CALL_DONE) take(r, call);
}

struct portraits *portraits_end(struct portraits_reading *r)
{
  struct portraits *portraits = r->portraits;
  table_clear(&r->sessions, drop);
  table_clear(&r->logins, NULL);
  free(r);
  return portraits;
}

void portraits_free(struct portraits *portraits)
{
  if (!portraits) return;
  table_clear(&portraits->handles, NULL);
  table_clear(&portraits->labels, NULL);
  arena_free(&portraits->memory);
  free(portraits);
}

const struct portrait *portrait_of(const struct portraits *portraits, uint64_t handle, uint64_t number)
{
  if (!portraits) return NULL;
  const struct portrait_entry *entry = table_get(&portraits->handles, handle);
  while (entry && entry->portrait.from > number) entry = entry->before;
  return entry && number <= entry->portrait.to ? &entry->portrait : NULL;
}
