/* How long handles of objects are good, and in which sessions. */
#include <inttypes.h>

#include "decoder/rules/obj/obj_help.h"

#define MINUTE 60000000000ull

bool obj_is_refusal(const struct call *call)
{
  return call->rv == CKR_OBJECT_HANDLE_INVALID || call->rv == CKR_KEY_HANDLE_INVALID ||
         call->rv == CKR_WRAPPING_KEY_HANDLE_INVALID || call->rv == CKR_UNWRAPPING_KEY_HANDLE_INVALID;
}

bool obj_handle(const struct call *call, uint64_t *handle)
{
  /* hWrappingKey and hKey: the code says which is meant. */
  if (call->known == P11_F_C_WrapKey) return pick_in(call, call->rv == CKR_KEY_HANDLE_INVALID ? 3 : 2, handle);
  int i = pick_kind(call, P11_K_OBJECT);
  if (i < 0) i = pick_kind(call, P11_K_KEY);
  return i >= 0 && pick_in(call, (unsigned)i, handle) && *handle;
}

/* The object that the call refuses although the handle is known to be good; NULL when there is none, or when calls overlap
 * that may have ended it. */
static const struct model_object *refused_object(const struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  uint64_t handle;
  if (!obj_is_refusal(call) || !slot || !check->place.session || !obj_handle(call, &handle)) return NULL;
  const struct model_object *o = table_get(&check->place.module->objects, handle);
  if (!o || o->slot != slot || !o->good || o->good > call->number) return NULL;
  if (slot->absent || model_removal(slot, call) || !model_settled(slot, call) ||
      !model_objects_still(slot->module, call->number) || check->place.session->opened.end_number > call->number)
    return NULL;
  /* Who may see it? A private object may be gone with a login that was lost, which other rules see. */
  const bool everybody = o->facts.is_private == TRI_NO || o->shown_public;
  if (!everybody && !(model_logged_in(slot) && model_login_still(slot, o->good))) return NULL;
  /* A session object is gone with the session that made it; which one that was is not known of one that was found. */
  const bool closed = slot->last.closed.number > o->good;
  if (o->facts.token != TRI_YES && !o->made.number && closed) return NULL;
  const struct model_session *creator = o->made.number ? model_session(slot->module, o->creator) : NULL;
  if (o->facts.token != TRI_YES && o->made.number &&
      (!creator || (creator != check->place.session && creator->in_flight)))
    return NULL;
  return o;
}

/* --- NSS-OBJ-01 --------------------------------------------------------------------------------- */

/* Of a session: its own searches leave out what it made, which is P11-FIND-07. */
static const struct kept_type blind_type = {1, NULL};

/* Would the session that made the object find it, and another one should too? */
static bool should_be_found(const struct model_object *o, const struct model_session *s)
{
  struct model_session *creator = o->made.number ? model_session(s->slot->module, o->creator) : NULL;
  if (creator == s) kept_make(&creator->kept, &blind_type);
  if (!creator || creator == s || kept_get(creator->kept, &blind_type)) return false;
  return !o->listed.number || o->listed_session == o->creator;
}

static void not_found_elsewhere(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct finding_options missing = {.cause = CAUSE_MISSING};
  const struct model_object *o = model_search_missed(s, call, NULL);
  while (o && !should_be_found(o, s)) o = model_search_missed(s, call, o);
  if (!o) return;
  struct finding *f = finding_report_as(check, &missing, SEVERITY_ERROR, 2,
                                        "an object that one session made is not found through another session");
  finding_note(f, &o->made, "0x%" PRIx64 " through session 0x%" PRIx64, o->handle, o->creator);
  finding_note(f, &s->op[OP_FIND].begun, NULL);
  finding_note(f, &s->found->last, "the end of the results, without 0x%" PRIx64, o->handle);
}

/* FAQ, Q29: "The PKCS #11 specification explicitly requires that symmetric keys must be visible to all sessions of the same
 * application. NSS explicitly depends on this semantic without the use of C_CopyObject. If your module does not support this
 * semantic, it will not work with NSS." */
void rule_obj_01(struct check *check, const struct call *call)
{
  const struct finding_options dead = {.cause = CAUSE_DEAD_OBJECT};
  const struct model_session *s = check->place.session;
  if (!s) return;
  if (call->known == P11_F_C_FindObjectsFinal) {
    if (s->found && s->found->active && !check->probe) not_found_elsewhere(check, call, s);
    return;
  }
  if (call->rv == CKR_OK) return;
  const struct model_object *o = refused_object(check, call);
  const uint64_t through = o ? (o->made.number ? o->creator : o->listed_session) : 0;
  if (!through || through == s->handle) return;
  /* A close since may have ended it wrongly: NSS-SESS-08, NSS-SESS-09. */
  if (s->slot->last.closed.number > o->good) return;
  char code[24];
  struct finding *f = finding_report_as(check, &dead, SEVERITY_ERROR, 1,
                                        "an object that one session %s is refused in another session: %s",
                                        o->made.number ? "made" : "found", note_rv(call->rv, code));
  finding_note(f, o->made.number ? &o->made : &o->listed, "0x%" PRIx64 " through session 0x%" PRIx64, o->handle,
               through);
  finding_call(f, check,
               check->probe ? "asked by the recorder through session 0x%" PRIx64 : "through session 0x%" PRIx64,
               s->handle);
}

/* --- P11-OBJ-10 --------------------------------------------------------------------------------- */

/* Handles that the application used after it had destroyed the object. */
struct stale {
  uint64_t handle[16];
  unsigned count;
};
static const struct kept_type stale_type = {sizeof(struct stale), NULL};

static bool was_used(const struct model_module *m, uint64_t handle)
{
  const struct stale *s = kept_get(m->kept, &stale_type);
  for (unsigned i = 0; s && i < sizeof s->handle / sizeof *s->handle; i++)
    if (s->handle[i] == handle) return true;
  return false;
}

/* A handle comes back that belonged to an object which was destroyed. */
static void recycled(struct check *check, const struct call *call, uint64_t handle)
{
  const struct model_module *m = check->place.module;
  if (!m->gone_objects || table_get(&m->objects, handle)) return;
  const struct model_gone *g = model_gone_object(m, check->place.slot, handle);
  if (!g || g->why != GONE_CLOSED || g->note.end_number > call->number || call->start > g->note.end + MINUTE) return;
  const bool used = was_used(m, handle);
  struct finding *f = finding_report(check, used ? SEVERITY_WARNING : SEVERITY_INFO, 3,
                                     "the handle of a destroyed object is used again");
  finding_note(f, &g->note, NULL);
  finding_call(
      f, check,
      used ? "0x%" PRIx64 ": another object, which whoever kept the handle takes for the old one" : "0x%" PRIx64,
      handle);
}

/* TLS's derivations of a key block put their handles into the mechanism's parameter and leave phKey alone; so does a PRF. */
static bool gives_no_key(const struct call *call)
{
  if (call->known != P11_F_C_DeriveKey || call->arg[1].in.what != VALUE_MECHANISM) return false;
  switch (call->arg[1].in.number) {
    case CKM_SSL3_KEY_AND_MAC_DERIVE:
    case CKM_TLS_KEY_AND_MAC_DERIVE:
    case CKM_TLS12_KEY_AND_MAC_DERIVE:
    case CKM_TLS12_KEY_SAFE_DERIVE:
    case CKM_WTLS_SERVER_KEY_AND_MAC_DERIVE:
    case CKM_WTLS_CLIENT_KEY_AND_MAC_DERIVE:
    case CKM_TLS_PRF: return true;
    default: return false;
  }
}

static void made(struct check *check, const struct call *call)
{
  if (gives_no_key(call)) return;
  for (unsigned i = 0; i < call->info->arity; i++) {
    uint64_t handle;
    if (call->info->param[i].kind != P11_K_OUT_OBJECT || !pick_out(call, i, &handle)) continue;
    if (handle) {
      recycled(check, call, handle);
      continue;
    }
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, 4, "%s returns the handle 0, which is no object", call->info->name);
    finding_call(f, check, NULL);
  }
}

static void used_after_destroy(struct check *check, const struct call *call, uint64_t handle)
{
  const struct finding_options dead = {.cause = CAUSE_DEAD_OBJECT}, caller = {.fault = FAULT_CALLER};
  struct model_module *m = check->place.module;
  if (!m->gone_objects || m->objects.count >= MODEL_OBJECTS) return;
  const struct model_gone *g = model_gone_object(m, check->place.slot, handle);
  if (!g || g->why != GONE_CLOSED || g->note.end_number > call->number || !model_objects_still(m, call->number)) return;
  if (check->place.slot && (g->slot != check->place.slot->id || model_removal(check->place.slot, call))) return;
  struct stale *s = kept_make(&m->kept, &stale_type);
  s->handle[s->count++ % (sizeof s->handle / sizeof *s->handle)] = handle;
  struct finding *f = NULL;
  if (call->rv == CKR_OK) {
    f = finding_report_as(check, &dead, SEVERITY_ERROR, 1, "%s succeeds on an object that was destroyed",
                          call->info->name);
    finding_note(f, &g->made, NULL);
    finding_note(f, &g->note, NULL);
    finding_call(f, check, NULL);
  } else if (!obj_is_refusal(call)) {
    return;
  }
  f = finding_report_as(check, &caller, SEVERITY_WARNING, 1, "an object is used after it was destroyed");
  finding_note(f, &g->note, NULL);
  finding_call(f, check, NULL);
}

/* The standard: "CKR_OBJECT_HANDLE_INVALID: The specified object handle is not valid. We reiterate here that 0 is never a
 * valid object handle." C_DestroyObject ends a handle; nothing but that, a logout (private objects), the close of the session
 * (session objects) and the removal of the token does. */
void rule_obj_10(struct check *check, const struct call *call)
{
  const struct finding_options dead = {.cause = CAUSE_DEAD_OBJECT};
  uint64_t handle;
  char code[24];
  if (call->known == P11_F_C_FindObjects) {
    const struct value *list = &call->arg[1].out;
    for (size_t i = 0; call->rv == CKR_OK && list->what == VALUE_LIST && i < list->count; i++)
      if (list->item[i].number) recycled(check, call, list->item[i].number);
    return;
  }
  if (call->rv == CKR_OK) made(check, call);
  if (!obj_handle(call, &handle)) return;
  const struct model_object *o = table_get(&check->place.module->objects, handle);
  if (!o) {
    used_after_destroy(check, call, handle);
    return;
  }
  if (call->rv == CKR_OK || !(o = refused_object(check, call))) return;
  const bool late = call->start > o->good_time + MINUTE;
  struct finding *f = finding_report_as(check, &dead, late ? SEVERITY_WARNING : SEVERITY_ERROR, 2,
                                        "the handle of an object that exists is refused: %s", note_rv(call->rv, code));
  finding_note(f, o->made.number ? &o->made : o->listed.number ? &o->listed : &o->found, "0x%" PRIx64, o->handle);
  if (check->place.slot->last.closed.number > o->good)
    finding_note(f, &check->place.slot->last.closed, "a session was closed since");
  finding_call(f, check, NULL);
  if (o->facts.token == TRI_YES) finding_hint(f, "another process may have destroyed the object");
}

/* --- P11-OBJ-11 --------------------------------------------------------------------------------- */

static const struct model_gone *ended_by_logout(const struct check *check, const struct call *call, uint64_t handle)
{
  const struct model_module *m = check->place.module;
  if (!m->gone_objects || table_get(&m->objects, handle) || m->objects.count >= MODEL_OBJECTS) return NULL;
  const struct model_gone *g = model_gone_object(m, check->place.slot, handle);
  const struct model_slot *slot = check->place.slot;
  if (!g || g->why != GONE_LOGOUT || g->note.end_number > call->number || !slot || g->slot != slot->id) return NULL;
  return model_settled(slot, call) && !model_removal(slot, call) ? g : NULL;
}

static void session_object_is_back(struct check *check, const struct call *call)
{
  const struct value *list = &call->arg[1].out;
  for (size_t i = 0; call->rv == CKR_OK && list->what == VALUE_LIST && i < list->count; i++) {
    const struct model_gone *g = ended_by_logout(check, call, list->item[i].number);
    if (!g || g->is_private != TRI_YES || g->token != TRI_NO) continue;
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, 3, "a private session object is found after the logout that destroys it");
    finding_note(f, &g->made, NULL);
    finding_note(f, &g->note, NULL);
    finding_call(f, check, "0x%" PRIx64, list->item[i].number);
    return;
  }
}

/* The standard, C_Logout: "any of the application's handles to private objects become invalid (even if a user is later logged
 * back into the token, those handles remain invalid). In addition, all private session objects from sessions belonging to the
 * application are destroyed." NSS goes on with the handles of its keys after PK11_CheckUserPassword, which logs out and in
 * (pk11auth.c). */
void rule_obj_11(struct check *check, const struct call *call)
{
  const struct finding_options dead = {.cause = CAUSE_DEAD_OBJECT},
                               caller = {.cause = CAUSE_DEAD_OBJECT, .fault = FAULT_CALLER};
  uint64_t handle;
  if (call->known == P11_F_C_FindObjects) {
    session_object_is_back(check, call);
    return;
  }
  const bool refused = obj_is_refusal(call);
  if ((call->rv != CKR_OK && !refused) || !obj_handle(call, &handle)) return;
  const struct model_gone *g = ended_by_logout(check, call, handle);
  if (!g || (!refused && g->is_private != TRI_YES)) return;
  const bool out = model_logged_out(check->place.slot), in = model_logged_in(check->place.slot);
  struct finding *f = NULL;
  if (refused)
    f = finding_report_as(check, &caller, SEVERITY_WARNING, 1, "a handle of a private object is used after a logout");
  else if (out)
    f = finding_report_as(check, &dead, SEVERITY_ERROR, 1,
                          "the handle of a private object is good after a logout, and nobody is logged in");
  else if (in)
    f = finding_report_as(check, &dead, SEVERITY_WARNING, 2,
                          "the handle of a private object outlives a logout and is good after the next login");
  finding_note(f, &g->made, NULL);
  finding_note(f, &g->note, NULL);
  if (in && !out && !refused) finding_note(f, &check->place.slot->last.login, NULL);
  finding_call(f, check, "0x%" PRIx64, handle);
}
