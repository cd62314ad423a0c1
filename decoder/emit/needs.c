#include "decoder/emit/needs.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/emit/emit_part.h"
#include "decoder/model/operation.h"

#define TAGS 16384 /* outputs that an input is looked for among; a power of two */

/* A call that others may need. Counted: it lives while a session, an object or another call refers to it. */
struct need {
  uint64_t number, closing; /* closing: the C_FindObjectsFinal of this search, 0 none */
  unsigned refs, count;
  bool wanted, makes; /* makes: an object that was not there before */
  struct need *begin; /* of a search: its C_FindObjectsInit; among `on` too */
  struct need *next;  /* in a list of work */
  struct need *on[];
};

struct need_tag {
  uint64_t tag, length;
  struct need *need;
};

struct session {
  uint64_t slot;
  struct need *opened, *op[OP_KINDS];
};
struct login {
  struct need *changed; /* the login or logout that made it what it is */
  unsigned sessions;
};

/* What the call at hand needs. */
#define MOST_NEEDS 64
struct gathering {
  struct needs *needs;
  struct need *on[MOST_NEEDS];
  unsigned count;
};

static struct need *hold(struct need *need)
{
  if (need) need->refs++;
  return need;
}

static void release(struct need *need)
{
  struct need *work = NULL;
  while (need) {
    if (--need->refs == 0) {
      need->next = work;
      work = need;
    }
    need = NULL;
    while (work && !need) {
      if (work->count) {
        need = work->on[--work->count];
      } else {
        struct need *gone = work;
        work = work->next;
        free(gone);
      }
    }
  }
}

static void set(struct need **at, struct need *need)
{
  struct need *old = *at;
  *at = hold(need);
  release(old);
}

static void include(struct needs *needs, uint64_t number, enum need_why why)
{
  if ((uintptr_t)table_get(needs->included, number) < (uintptr_t)why)
    table_put(needs->included, number, (void *)(uintptr_t)why);
}

/* This call, and all that it needs. */
static void want(struct needs *needs, struct need *need)
{
  if (need->wanted) return;
  need->wanted = true;
  need->next = NULL;
  for (struct need *work = need; work;) {
    struct need *at = work;
    work = work->next;
    include(needs, at->number, NEED_INCLUDED);
    /* A search that is left open is in the way of the next one. */
    if (at->begin && at->begin->closing) include(needs, at->begin->closing, NEED_INCLUDED);
    if (at->closing) include(needs, at->closing, NEED_INCLUDED);
    for (unsigned i = 0; i < at->count; i++) {
      struct need *on = at->on[i];
      if (on->wanted) continue;
      on->wanted = true;
      on->next = work;
      work = on;
    }
  }
}

static void gather(struct gathering *g, struct need *need)
{
  if (!need || g->count == MOST_NEEDS) return;
  for (unsigned i = 0; i < g->count; i++)
    if (g->on[i] == need) return;
  g->on[g->count++] = need;
}

static struct need_tag *tag_place(const struct needs *needs, uint64_t tag)
{
  return &needs->tag[(tag * 0x9E3779B97F4A7C15ull) >> 50 & (TAGS - 1)];
}

/* Handles and bytes in what the call was given. */
static void walk(struct gathering *g, const struct value *v, const struct p11_field *field)
{
  if (g->needs->tag && emit_tagged(v)) {
    const struct need_tag *tag = tag_place(g->needs, v->number);
    if (tag->need && tag->tag == v->number && tag->length == v->length) gather(g, tag->need);
  }
  if (v->what == VALUE_NUMBER && field && (field->kind == P11_FK_HANDLE || field->kind == P11_FK_PHANDLE))
    gather(g, table_get(&g->needs->objects, v->number));
  const struct p11_struct *s = v->what == VALUE_STRUCT ? p11_struct_info(v->structure) : NULL;
  for (size_t i = 0; i < v->count; i++)
    walk(g, &v->item[i], s && v->item[i].member < s->count ? &s->field[v->item[i].member] : NULL);
}

static struct session *session_of(struct needs *needs, const struct call *call)
{
  const int at = pick_kind(call, P11_K_SESSION);
  return at < 0 ? NULL : table_get(&needs->sessions, call->arg[at].in.number);
}

static struct login *login_of(struct needs *needs, uint64_t slot)
{
  struct login *login = table_get(&needs->logins, slot);
  if (!login) table_put(&needs->logins, slot, login = model_alloc(sizeof *login));
  return login;
}

static void gather_call(struct gathering *g, const struct call *call)
{
  struct needs *needs = g->needs;
  struct session *session = session_of(needs, call);
  bool before = false; /* may be called before C_Initialize */
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *in = &call->arg[i].in;
    switch (call->info->param[i].kind) {
      case P11_K_OUT_FUNCTION_LIST:
      case P11_K_OUT_INTERFACE:
      case P11_K_OUT_INTERFACES: before = true; break;
      case P11_K_SLOT: gather(g, needs->listed); break;
      case P11_K_OBJECT:
      case P11_K_KEY: gather(g, table_get(&needs->objects, in->number)); break;
      case P11_K_PIN: break;
      default: walk(g, in, NULL); break;
    }
  }
  if (!before) gather(g, needs->initialized);
  if (!session) return;
  gather(g, session->opened);
  gather(g, login_of(needs, session->slot)->changed);
  int op[2];
  const unsigned ops = model_ops_of(call->known, op);
  const bool begins = model_begins(call) && call->rv == CKR_OK;
  for (unsigned i = 0; i < ops && !begins; i++) gather(g, session->op[op[i]]);
  if (!ops && call->info->class == P11_CLASS_OPERATION)
    for (int i = 0; i < OP_KINDS; i++) gather(g, session->op[i]);
}

static void drop_session(void *value)
{
  struct session *session = value;
  release(session->opened);
  for (int i = 0; i < OP_KINDS; i++) release(session->op[i]);
  free(session);
}

static void drop_need(void *value)
{
  release(value);
}

static void drop_login(void *value)
{
  release(((struct login *)value)->changed);
  free(value);
}

static void forget(struct needs *needs)
{
  set(&needs->initialized, NULL);
  set(&needs->listed, NULL);
  table_clear(&needs->sessions, drop_session);
  table_clear(&needs->objects, drop_need);
  table_clear(&needs->logins, drop_login);
}

void needs_free(struct needs *needs)
{
  forget(needs);
  for (size_t i = 0; needs->tag && i < TAGS; i++) release(needs->tag[i].need);
  free(needs->tag);
}

static void put_object(struct needs *needs, uint64_t handle, struct need *need)
{
  release(table_put(&needs->objects, handle, hold(need)));
}

static void close_session(struct needs *needs, uint64_t handle, struct need *need)
{
  struct session *session = table_take(&needs->sessions, handle);
  if (!session) return;
  struct login *login = login_of(needs, session->slot);
  /* The last session of a slot takes the login along. */
  if (login->sessions && --login->sessions == 0 && login->changed) set(&login->changed, need);
  drop_session(session);
}

static void close_slot(struct needs *needs, uint64_t slot, struct need *need)
{
  struct table kept = {0};
  for (size_t i = 0; i < needs->sessions.room; i++) {
    struct session *session = needs->sessions.entry[i].value;
    if (!session) continue;
    if (session->slot == slot)
      drop_session(session);
    else
      table_put(&kept, needs->sessions.entry[i].key, session);
  }
  table_clear(&needs->sessions, NULL);
  needs->sessions = kept;
  struct login *login = login_of(needs, slot);
  login->sessions = 0;
  if (login->changed) set(&login->changed, need);
}

/* What came out: handles, and bytes that may go in again. */
static void take_outputs(struct needs *needs, const struct call *call, struct need *need)
{
  const int slot = pick_kind(call, P11_K_SLOT);
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    switch (call->info->param[i].kind) {
      case P11_K_OUT_SLOTS:
        if (out->count) set(&needs->listed, need);
        break;
      case P11_K_OUT_SESSION: {
        if (out->what != VALUE_NUMBER || slot < 0) break;
        struct session *session = model_alloc(sizeof *session);
        session->slot = call->arg[slot].in.number;
        session->opened = hold(need);
        login_of(needs, session->slot)->sessions++;
        session = table_put(&needs->sessions, out->number, session);
        if (session) drop_session(session);
        break;
      }
      case P11_K_OUT_OBJECT:
        if (out->what != VALUE_NUMBER) break;
        need->makes = true;
        put_object(needs, out->number, need);
        break;
      case P11_K_OUT_OBJECTS:
        for (size_t k = 0; k < out->count; k++) {
          const struct need *known = table_get(&needs->objects, out->item[k].number);
          if (!known || !known->makes) put_object(needs, out->item[k].number, need);
        }
        break;
      case P11_K_OUT_BYTES:
      case P11_K_OUT_BYTES_OF:
        if (!emit_tagged(out)) break;
        if (!needs->tag) needs->tag = model_alloc(TAGS * sizeof *needs->tag);
        struct need_tag *tag = tag_place(needs, out->number);
        release(tag->need);
        *tag = (struct need_tag){out->number, out->length, hold(need)};
        break;
      default: break;
    }
  }
}

static void take_operations(struct needs *needs, const struct call *call, struct need *need)
{
  struct session *session = session_of(needs, call);
  if (!session) return;
  int op[2];
  const unsigned ops = model_ops_of(call->known, op);
  for (unsigned i = 0; i < ops; i++) {
    struct need *last = session->op[op[i]];
    if (op[i] == OP_FIND && last && !model_begins(call)) {
      need->begin = last->begin ? last->begin : last;
      if (model_step_of(call->known) == STEP_FINAL && call->rv == CKR_OK && !need->begin->closing) {
        need->begin->closing = call->number;
        if (need->begin->wanted) include(needs, call->number, NEED_INCLUDED);
      }
    }
    set(&session->op[op[i]], need);
  }
  if (!ops && call->info->class == P11_CLASS_OPERATION)
    for (int i = 0; i < OP_KINDS; i++) set(&session->op[i], need);
}

static void take_state(struct needs *needs, const struct call *call, struct need *need)
{
  const int slot = pick_kind(call, P11_K_SLOT), at = pick_kind(call, P11_K_SESSION);
  struct session *session = session_of(needs, call);
  switch (call->known) {
    case P11_F_C_Initialize: set(&needs->initialized, need); break;
    case P11_F_C_Finalize: forget(needs); break;
    case P11_F_C_CloseSession: close_session(needs, call->arg[at].in.number, need); break;
    case P11_F_C_CloseAllSessions: close_slot(needs, call->arg[slot].in.number, need); break;
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
    case P11_F_C_Logout:
      if (session) set(&login_of(needs, session->slot)->changed, need);
      break;
    case P11_F_C_SetAttributeValue:
    case P11_F_C_DestroyObject: {
      const int object = pick_kind(call, P11_K_OBJECT);
      if (object < 0) break;
      need->makes = true;
      put_object(needs, call->arg[object].in.number, need);
      break;
    }
    default: break;
  }
}

void needs_see(struct needs *needs, const struct call *call, bool chosen)
{
  if (call->state != CALL_DONE) {
    if (chosen) include(needs, call->number, NEED_CHOSEN);
    return;
  }
  struct gathering g = {.needs = needs};
  gather_call(&g, call);
  /* A search that finds what the program itself made needs it to be made. */
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    if (call->info->param[i].kind != P11_K_OUT_OBJECTS) continue;
    for (size_t k = 0; k < out->count; k++) {
      struct need *known = table_get(&needs->objects, out->item[k].number);
      if (known && known->makes) gather(&g, known);
    }
  }
  struct need *need = model_alloc(sizeof *need + g.count * sizeof need->on[0]);
  need->number = call->number;
  need->count = g.count;
  for (unsigned i = 0; i < g.count; i++) need->on[i] = hold(g.on[i]);
  need->refs = 1;
  take_operations(needs, call, need);
  if (call->rv == CKR_OK) {
    take_outputs(needs, call, need);
    take_state(needs, call, need);
  }
  if (chosen) {
    want(needs, need);
    include(needs, call->number, NEED_CHOSEN);
  }
  release(need);
}
