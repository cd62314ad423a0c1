/* What closing a session does to the login, and to other sessions. */
#include <inttypes.h>

#include "decoder/check/suspects.h"
#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

#define RECENT 5000000000ull /* ns: an object that was not used for longer may have been deleted by another program */

/* --- NSS-SESS-07 -------------------------------------------------------------------------------------------------- */

static void sess_07(struct check *check, const struct suspects *why)
{
  const struct finding_options o = {.cause = CAUSE_USER};
  struct finding *f = finding_report_as(
      check, &o, SEVERITY_ERROR, why->seen.answer,
      why->seen.answer ? "the login outlives the last session: C_Login answers CKR_USER_ALREADY_LOGGED_IN"
                       : "the login outlives the last session: a new one reports the user logged in");
  finding_note(f, why->login.number < why->all.number ? &why->login : &why->user, NULL);
  finding_note(f, &why->all, "no session is open");
  if (why->begun.number > why->all.number) finding_note(f, &why->begun, NULL);
  finding_note(f, &why->seen.note, NULL);
}

/* The standard, C_CloseSession: "If this function is successful and it closes the last session between the application and the
 * token, the login state of the token for the application returns to public sessions. Any new sessions to the token opened by
 * the application will be either R/O Public or R/W Public sessions." */
void rule_sess_07(struct check *check, const struct call *call)
{
  (void)call;
  suspects_run(check, SUSPECT_SESS_07, sess_07);
}

/* --- NSS-SESS-08 -------------------------------------------------------------------------------------------------- */

static void sess_08(struct check *check, const struct suspects *why)
{
  const struct finding_options o = {.cause = CAUSE_PUBLIC};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_ERROR, 0, "closing a session that is not the last one logs the user out");
  finding_note(f, &why->login, NULL);
  finding_note(f, why->user.number > why->used.number ? &why->user : &why->used, NULL);
  finding_note(f, &why->closed, "other sessions stay open");
  finding_note(f, &why->seen.note, NULL);
}

/* The operation of this session went when another session was closed. */
static void lost_operation(struct check *check, const struct call *call, const struct note *closed)
{
  const struct model_session *s = check->place.session;
  const int kind = model_op_of(call->known);
  if (kind < 0 || !model_alone(s, call)) return;
  const struct model_operation *op = &s->op[kind];
  if (!model_active(op) || op->last.number > closed->number) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, 1,
                                     "closing a session ends the operation of another one: %s", call->info->name);
  finding_note(f, &op->begun, NULL);
  finding_note(f, closed, NULL);
  finding_call(f, check, NULL);
}

/* A token object whose handle was good before, and is not after the close. */
static void lost_object(struct check *check, const struct call *call, const struct note *closed)
{
  const struct finding_options o = {.cause = CAUSE_DEAD_OBJECT};
  const struct model_object *object = check->place.object;
  char unknown[24];
  if (!object || object->facts.token != TRI_YES || !object->good || object->good > closed->number) return;
  if (call->start > object->good_time + RECENT) return;
  const struct note *shown = object->listed.number ? &object->listed : &object->made;
  const struct note *other = checker_other(check, check->place.slot);
  struct finding *f = finding_report_as(check, &o, other ? SEVERITY_WARNING : SEVERITY_ERROR, 2,
                                        "closing a session takes the handles of token objects from the others: %s",
                                        note_rv(call->rv, unknown));
  finding_note(f, shown, NULL);
  finding_note(f, closed, NULL);
  finding_call(f, check, NULL);
  if (other) finding_hint(f, "another process uses the token: it may have deleted the object");
}

static void session_08(struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  if (!slot || !check->place.session) return;
  const struct note *closed = &slot->last.closed;
  if (!closed->number || call->number < closed->end_number) return;
  if (!model_settled(slot, call) || slot->changed > closed->number || model_removal(slot, call)) return;
  if (call->rv == CKR_OPERATION_NOT_INITIALIZED)
    lost_operation(check, call, closed);
  else
    lost_object(check, call, closed);
}

/* The standard, C_CloseSession: it "closes a session", and destroys the session objects made in it; only that of the last
 * session changes the login. NSS opens and closes a session for almost every operation (pk11obj.c, pk11slot.c). */
void rule_sess_08(struct check *check, const struct call *call)
{
  if (check->seen) {
    suspects_run(check, SUSPECT_SESS_08, sess_08);
  } else if (call && (call->rv == CKR_OPERATION_NOT_INITIALIZED || call->rv == CKR_OBJECT_HANDLE_INVALID ||
                      call->rv == CKR_KEY_HANDLE_INVALID)) {
    session_08(check, call);
  }
}
