/* Login state. */
#include <inttypes.h>
#include <string.h>

#include "decoder/rules/rules.h"

static bool session_state(const struct call *call, uint64_t *state)
{
  const struct value *v = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state));
  if (call->rv != CKR_OK || !v) return false;
  *state = v->number;
  return true;
}

/* The standard, CK_SESSION_INFO: "CKF_RW_SESSION: True if the session is read/write; false if the session is read-only",
 * "CKF_SERIAL_SESSION: [...] should always be set to true"; the states of read-only sessions are the two CKS_RO_*. A session
 * that was asked read/write and is read-only throughout is another matter (NSS-TOK-07): softoken does that on a read-only
 * database. */
void rule_login_03(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const struct value *flags = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, flags));
  const struct value *slot = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, slotID));
  uint64_t state;
  if (!s || !s->opened.number || s->opened.end_number > call->number || !session_state(call, &state) || !flags || !slot)
    return;
  if (model_removal(s->slot, call)) return;
  const bool asked_rw = s->flags & CKF_RW_SESSION, says_rw = flags->number & CKF_RW_SESSION;
  const bool state_rw = state != CKS_RO_PUBLIC_SESSION && state != CKS_RO_USER_FUNCTIONS;
  const char *kind = asked_rw ? "read/write" : "read-only", *name = p11_constant_name(P11_DOM_CKS_SESSION, state);
  struct finding *f = NULL;
  if (!model_state_class(state)) {
    f = finding_report(check, SEVERITY_ERROR, 1, "C_GetSessionInfo reports state %" PRIu64 ", which does not exist",
                       state);
  } else if (slot->number != s->slot->id) {
    f = finding_report(check, SEVERITY_ERROR, 2,
                       "C_GetSessionInfo reports slot %" PRIu64 " for a session that was opened on slot %" PRIu64,
                       slot->number, s->slot->id);
  } else if (asked_rw && !says_rw && !state_rw) {
    return;
  } else if (says_rw != asked_rw) {
    f = finding_report(check, SEVERITY_ERROR, 3,
                       "C_GetSessionInfo reports CKF_RW_SESSION %s for a session that was opened %s",
                       says_rw ? "set" : "clear", kind);
  } else if (state_rw != asked_rw) {
    f = finding_report(check, SEVERITY_ERROR, 4, "C_GetSessionInfo reports %s for a session that was opened %s", name,
                       kind);
  } else if (!(flags->number & CKF_SERIAL_SESSION) && s->flags & CKF_SERIAL_SESSION) {
    f = finding_report(check, SEVERITY_ERROR, 5, "C_GetSessionInfo reports CKF_SERIAL_SESSION clear");
  }
  finding_note(f, &s->opened, NULL);
  finding_call(f, check, NULL);
}
