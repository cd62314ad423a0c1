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

static bool is_user_login(const struct call *call)
{
  uint64_t user;
  return (call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser) && pick_in(call, 1, &user) &&
         user == CKU_USER;
}

static void login_09_login(struct check *check, const struct call *call, struct model_slot *slot)
{
  if (call->rv != CKR_OK && call->rv != CKR_USER_ALREADY_LOGGED_IN) return;
  slot->rule.login = (struct note){0};
  /* A logout that overlaps may have come after it. */
  if (model_settled(slot, call)) model_note(&check->place, &slot->rule.login, call);
}

static void login_09_state(struct check *check, const struct call *call, struct model_slot *slot)
{
  struct note *login = &slot->rule.login;
  uint64_t state, handle;
  if (!login->number || call->number < login->end_number || !session_state(call, &state) || !model_settled(slot, call))
    return;
  const struct note asked = *login;
  *login = (struct note){0};
  if (model_removal(slot, call)) return;
  if (model_state_class(state) != LOGIN_PUBLIC) {
    slot->rule.cycles = 0;
    return;
  }
  if (!slot->rule.cycles++) slot->rule.asked = asked.start;
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 0, "C_Login succeeds, and C_GetSessionInfo reports the token logged out");
  finding_note(f, &asked, NULL);
  finding_call(f, check, NULL);
  if (pick_in(call, 0, &handle) && asked.values && asked.value[0] != handle)
    finding_hint(f,
                 "the login was made on session 0x%" PRIx64 " and the state asked on 0x%" PRIx64
                 ": perhaps it does not reach other sessions (NSS-LOGIN-01)",
                 asked.value[0], handle);
  if (slot->rule.cycles >= 2) {
    const uint64_t ms = (call->end - slot->rule.asked) / 1000000;
    finding_say(check, 0,
                "PIN prompt loop: %u logins in a row succeed within %" PRIu64 ".%03" PRIu64
                " s, and after each C_GetSessionInfo reports the token logged out",
                slot->rule.cycles, ms / 1000, ms % 1000);
  }
}

static void forget_logins(struct model_module *m)
{
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&m->slots, &at));) s->rule.login = (struct note){0};
}

/* FAQ, Q10: "NSS calls C_GetSessionInfo to get the login/logout state. NSS never attempts to cache this information [...]. You
 * must update all sessions correctly when the state changes. Not doing so is a common source of problems." NSS does not check
 * after a success (pk11auth.c, PK11_CheckPassword): the next PK11_IsLoggedIn asks the card, and prompts again. */
void rule_login_09(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  switch (call->known) {
    case P11_F_C_Finalize: forget_logins(check->place.module); return;
    case P11_F_C_Logout:
      if (!slot) forget_logins(check->place.module);
      /* fall through */
    case P11_F_C_InitToken:
      if (slot) slot->rule.login = (struct note){0};
      return;
    case P11_F_C_GetSessionInfo:
      if (slot) login_09_state(check, call, slot);
      return;
    default:
      if (slot && is_user_login(call)) login_09_login(check, call, slot);
  }
}
