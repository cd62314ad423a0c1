/* What a wrong PIN is answered. */
#include "decoder/rules/login/login_help.h"

#include <inttypes.h>

#define PIN_PROMPT (60 * SECOND) /* a user who mistyped has tried again by then */

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
  const uint64_t tag = value_is_tagged(pin) ? pin->number : 0;
  uint64_t length, session;
  if (pick_is_null(call, 2) || !pick_in(call, 3, &length) || !length || !pick_in(call, 0, &session))
    return; /* PIN pad */
  if (slot->login == LOGIN_USER && model_settled(slot, call) && call->rv != CKR_OK)
    return; /* somebody is logged in: NSS-LOGIN-08 */
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
  if (login_is(call, CKU_USER)) {
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
