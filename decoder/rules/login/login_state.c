/* Login state. */
#include <inttypes.h>
#include <string.h>

#include "decoder/rules/rules.h"

#define SECOND 1000000000ull
#define PIN_PROMPT (60 * SECOND) /* a user who mistyped has tried again by then */

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

static bool says_nothing(uint64_t rv)
{
  switch (rv) {
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
    case CKR_DEVICE_ERROR:
    case CKR_ARGUMENTS_BAD:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE: return true;
    default: return rv >= CKR_VENDOR_DEFINED;
  }
}

static void forget_refusal(struct model_slot *slot)
{
  slot->rule.refused = (struct note){0};
  slot->rule.refused_reported = false;
}

static void report_refusal(struct check *check, struct model_slot *slot, enum severity severity, const char *detail)
{
  char unknown[24];
  const struct note *refused = &slot->rule.refused;
  const struct finding_options o = {.same = slot->rule.refused_reported, .slot = slot};
  /* Softoken answers CKR_PIN_LEN_RANGE to a PIN that is too long, and so may others: never more than a warning. */
  if (refused->rv == CKR_PIN_LEN_RANGE) severity = SEVERITY_WARNING;
  struct finding *f =
      finding_report_as(check, &o, severity, refused->rv, "C_Login with a PIN that is not accepted fails with %s",
                        note_rv(refused->rv, unknown));
  finding_note(f, refused,
               slot->rule.refused_tag ? "a PIN of %" PRIu64 " bytes" : "a PIN of %" PRIu64 " bytes, not recorded",
               slot->rule.refused_length);
  finding_call(f, check, "%s", detail);
  if (!slot->rule.refused_tag)
    finding_hint(
        f, "whether the PIN was wrong is not in the trace; a device that fails once and then works looks the same");
  slot->rule.refused_reported = true;
}

static void login_10_login(struct check *check, const struct call *call, struct model_slot *slot)
{
  const struct value *pin = &call->arg[2].in;
  const bool by_bytes = pin->what == VALUE_BYTES && (pin->form == P11T_V_TAG || pin->form == P11T_V_SEALED);
  const uint64_t tag = by_bytes && pin->form == P11T_V_TAG ? pin->number : 0;
  uint64_t length, session;
  if (pick_is_null(call, 2) || !pick_in(call, 3, &length) || !length || !pick_in(call, 0, &session))
    return; /* PIN pad */
  if (call->rv == CKR_OK) {
    const bool equal = tag && tag == slot->rule.refused_tag && length == slot->rule.refused_length;
    if (slot->rule.refused.number && !equal && call->start < slot->rule.refused.end + PIN_PROMPT)
      report_refusal(check, slot, SEVERITY_ERROR, "the next login succeeds");
    forget_refusal(slot);
  } else if (says_nothing(call->rv)) {
    forget_refusal(slot);
    if (model_removal(slot, call) || !model_settled(slot, call)) return;
    model_note(&check->place, &slot->rule.refused, call);
    slot->rule.refused_session = session;
    slot->rule.refused_length = length;
    slot->rule.refused_tag = tag;
  } else {
    forget_refusal(slot);
    if (call->rv != CKR_PIN_INCORRECT || !slot->token.known || !(slot->token.flags & CKF_USER_PIN_LOCKED)) return;
    if (!model_settled(slot, call)) return;
    struct finding *f = finding_report(check, SEVERITY_ERROR, CKR_PIN_INCORRECT,
                                       "C_Login with a blocked PIN fails with CKR_PIN_INCORRECT, not CKR_PIN_LOCKED");
    finding_note(f, &slot->token.note, "CKF_USER_PIN_LOCKED is set");
    finding_call(f, check, NULL);
  }
}

/* The standard, C_Login: "a return value of CKR_PIN_INCORRECT means that the user was denied access." NSS prompts again on
 * that code only (pk11auth.c, PK11_DoPassword). A token that fails altogether is something else, so there must be a sign
 * that it works: a later success on the session (that it can be closed proves nothing after CKR_DEVICE_ERROR), a later login,
 * CKF_USER_PIN_COUNT_LOW appearing. A later login with the same PIN (equal tag) proves that the PIN was right all along. */
void rule_login_10(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  uint64_t session;
  if (!slot) return;
  if (is_user_login(call)) {
    login_10_login(check, call, slot);
    return;
  }
  const struct note *refused = &slot->rule.refused;
  if (!refused->number || call->number < refused->end_number || call->rv != CKR_OK) return;
  if (model_removal(slot, call)) {
    forget_refusal(slot);
    return;
  }
  struct model_token token;
  if (call->known == P11_F_C_GetTokenInfo) {
    const uint64_t low = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
    if (slot->token.known && model_token_info(call, &token) && token.flags & ~slot->token.flags & low)
      report_refusal(check, slot, SEVERITY_ERROR, "the token has counted a wrong PIN");
    return;
  }
  if (slot->rule.refused_reported) return;
  const bool all = call->known == P11_F_C_CloseAllSessions, close = all || call->known == P11_F_C_CloseSession;
  if (!all && (!pick_in(call, 0, &session) || session != slot->rule.refused_session)) return;
  if (close && refused->rv == CKR_DEVICE_ERROR) return;
  report_refusal(check, slot, SEVERITY_WARNING, "the session works");
}
