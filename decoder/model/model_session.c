/* Sessions, logins and searches. */
#include <stdlib.h>
#include <string.h>

#include "decoder/model/model.h"

struct model_session *model_session(const struct model_module *module, uint64_t handle)
{
  return handle ? table_get(&module->sessions, handle) : NULL;
}

void model_free_session(void *session)
{
  struct model_session *s = session;
  kept_clear(&s->kept);
  free(s->found);
  free(s);
}

void model_drop_sessions(struct model_module *module, const struct model_slot *slot)
{
  size_t at = 0;
  if (!slot) {
    table_clear(&module->sessions, model_free_session);
    for (struct model_slot *s; (s = table_next(&module->slots, &at));) s->sessions = s->rw_sessions = 0;
    return;
  }
  /* Taking an entry out moves others: begin again after each. */
  for (struct model_session *s; (s = table_next(&module->sessions, &at));) {
    if (s->slot != slot) continue;
    model_free_session(table_take(&module->sessions, s->handle));
    at = 0;
  }
  ((struct model_slot *)slot)->sessions = ((struct model_slot *)slot)->rw_sessions = 0;
}

static struct model_session *add(struct model_module *module, struct model_slot *slot, uint64_t handle)
{
  struct model_session *s = model_alloc(sizeof *s);
  s->handle = handle;
  s->slot = slot;
  struct model_session *old = table_put(&module->sessions, handle, s);
  if (old) {
    old->slot->sessions--;
    if (old->flags & CKF_RW_SESSION) old->slot->rw_sessions--;
    model_free_session(old);
  }
  slot->sessions++;
  return s;
}

static void open_session(const struct call *call, struct model_place *place)
{
  uint64_t handle, flags;
  if (!call_returned(call, CKR_OK)) {
    if (call->state == CALL_DONE) model_note(place, &place->module->session_failure, call);
    return;
  }
  if (!place->slot || !pick_out(call, 4, &handle) || !handle || !pick_in(call, 1, &flags)) return;
  struct model_session *s = add(place->module, place->slot, handle);
  s->flags = flags;
  if (flags & CKF_RW_SESSION) s->slot->rw_sessions++;
  model_token_present(call, place);
  for (int i = 0; i < OP_KINDS; i++) s->op[i].state = OP_NONE;
  model_note(place, &s->opened, call);
}

/* Everybody is logged out when the last session goes; that it was the last is known only from the start on. */
static void after_close(struct model_slot *slot)
{
  const bool all_known = slot->module->epoch == EPOCH_OPEN && slot->module->initialized.number;
  if (!slot->sessions && all_known) model_drop_objects_at(slot, GONE_ALL, &slot->last.all);
}

static void close_session(const struct call *call, struct model_place *place)
{
  struct model_session *s = place->session;
  if (!s || (call->rv != CKR_OK && s->in_flight)) return; /* the call that closes it may be under way still */
  struct note note;
  model_note(place, &note, call);
  model_session_gone(place->module, s, call->rv == CKR_OK ? GONE_CLOSED : GONE_LOST, &note);
  model_drop_objects_of(place->module, s, &note);
  s->slot->sessions--;
  if (s->flags & CKF_RW_SESSION) s->slot->rw_sessions--;
  *(s->slot->sessions ? &s->slot->last.closed : &s->slot->last.all) = note;
  after_close(s->slot);
  model_free_session(table_take(&place->module->sessions, s->handle));
  place->session = NULL;
}

static void close_all(const struct call *call, struct model_place *place)
{
  struct model_module *m = place->module;
  struct model_slot *slot = place->slot;
  size_t at = 0;
  model_note(place, &slot->last.all, call);
  for (struct model_session *s; (s = table_next(&m->sessions, &at));) {
    /* One that was opened meanwhile may be open still. */
    if (s->slot != slot || s->opened.end_number > call->number) continue;
    model_session_gone(m, s, GONE_ALL, &slot->last.all);
    slot->sessions--;
    if (s->flags & CKF_RW_SESSION) slot->rw_sessions--;
    model_free_session(table_take(&m->sessions, s->handle));
    at = 0; /* taking an entry out moves others */
  }
  after_close(slot);
}

static void login(const struct call *call, struct model_place *place)
{
  uint64_t user;
  struct model_slot *s = place->slot;
  if (!s || !pick_in(call, 1, &user)) return;
  if (user == CKU_CONTEXT_SPECIFIC || call->state != CALL_DONE) return;
  if (call->rv != CKR_OK && !(call->rv == CKR_USER_ALREADY_LOGGED_IN && user == CKU_USER)) return;
  model_note(place, user == CKU_SO ? &s->last.so : &s->last.login, call);
  if (user == CKU_USER && call->rv == CKR_OK) model_note(place, &s->user, call);
}

/* A session that was opened before the trace began. */
void model_adopt(const struct call *call, struct model_place *place)
{
  uint64_t handle;
  if (call->known != P11_F_C_GetSessionInfo || place->session || place->module->epoch != EPOCH_UNKNOWN) return;
  const struct value *slot = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, slotID));
  if (!call_returned(call, CKR_OK) || !slot || !pick_in(call, 0, &handle) || !handle) return;
  const struct model_gone *gone = model_gone_session(place->module, handle);
  if (gone && gone->note.end_number > call->number) return; /* closed meanwhile */
  place->session = add(place->module, model_slot(place->module, slot->number), handle);
  place->slot = place->session->slot;
  model_was_open(place->slot);
}

static void session_info(const struct call *call, struct model_place *place)
{
  const struct value *state = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state));
  if (!place->slot || !state) return;
  place->slot->seen = call->end;
  const unsigned class = model_state_class(state->number);
  if (class == LOGIN_USER) model_note(place, &place->slot->last.user_seen, call);
  if (class == LOGIN_PUBLIC) model_note(place, &place->slot->last.public_seen, call);
}

static void init_token(struct model_slot *s)
{
  s->token.known = false;
  s->user = (struct note){0};
  s->keys = 0;
  memset(&s->rule, 0, sizeof s->rule);
}

/* A call found its session gone: NSS goes on with handle 0 then. */
static void session_gone(const struct call *call, struct model_place *place)
{
  uint64_t handle;
  const int i = pick_kind(call, P11_K_SESSION);
  if (call->state != CALL_DONE || i < 0) return;
  if (call->rv != CKR_SESSION_HANDLE_INVALID && call->rv != CKR_SESSION_CLOSED && call->rv != CKR_DEVICE_REMOVED)
    return;
  if (pick_in(call, (unsigned)i, &handle) && handle) model_note(place, &place->module->session_failure, call);
  if (place->session && !place->session->in_flight) model_session_lost(place->session);
}

void model_apply_session(const struct call *call, struct model_place *place)
{
  if (place->session) {
    place->session->tid = call->tid;
    place->session->busy_end = call->end_number;
    if (call_returned(call, CKR_OK)) place->session->answered = call->end;
  }
  if (call->rv != CKR_OK) session_gone(call, place);
  const bool ok = call_returned(call, CKR_OK);
  struct model_slot *s = place->slot;
  switch (call->known) {
    case P11_F_C_OpenSession: open_session(call, place); break;
    case P11_F_C_CloseSession:
      if (ok || call_returned(call, CKR_SESSION_HANDLE_INVALID)) close_session(call, place);
      break;
    case P11_F_C_CloseAllSessions:
      if (ok && s) close_all(call, place);
      break;
    case P11_F_C_Login:
    case P11_F_C_LoginUser: login(call, place); break;
    case P11_F_C_Logout:
      if (!ok || !s) break;
      model_note(place, &s->last.logout, call);
      model_drop_objects_at(s, GONE_LOGOUT, &s->last.logout);
      place->object = NULL;
      break;
    case P11_F_C_InitToken:
      if (!ok || !s) break;
      model_note(place, &s->last.all, call);
      model_drop_objects_at(s, GONE_REMOVED, &s->last.all); /* all of them are destroyed */
      init_token(s);
      break;
    case P11_F_C_SetPIN:
      if (ok && s) model_note(place, &s->last.pin, call);
      break;
    case P11_F_C_InitPIN:
      if (!ok || !s) break;
      model_note(place, &s->last.pin, call);
      s->token.known = false; /* its flags are old now */
      break;
    case P11_F_C_GetSessionInfo:
      if (ok) session_info(call, place);
      break;
    case P11_F_C_FindObjectsInit:
      if (!ok || !place->session) break;
      place->session->searching = true;
      place->session->search = model_facts(pick_template(call));
      break;
    case P11_F_C_FindObjectsFinal:
      if (place->session) place->session->searching = false;
      break;
    default: break;
  }
}
