/* The security officer: when it logs in, and what it alone may do. */
#include "decoder/rules/login/login_help.h"

enum { SO_LOGIN = 1, NOT_SO, SESSIONS_OPEN };

static void so_login(struct check *check, const struct model_slot *slot)
{
  const struct model_token *t = &slot->token;
  if (!t->known || !(t->flags & CKF_USER_PIN_INITIALIZED) || t->flags & CKF_USER_PIN_LOCKED) return;
  const struct finding_options o = {.fault = FAULT_CALLER};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_WARNING, SO_LOGIN, "the SO logs in to a token whose user has a PIN");
  finding_note(f, &t->note, NULL);
  finding_call(f, check, NULL);
}

static void init_pin(struct check *check, const struct call *call, const struct model_slot *slot)
{
  if (!slot->login || slot->login & LOGIN_SO || !model_settled(slot, call) || !check->place.session) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, NOT_SO, "C_InitPIN succeeds, and the SO is not logged in");
  const struct note *in = &slot->last.login, *out = &slot->last.public_seen;
  if (slot->login == LOGIN_USER)
    finding_note(f, in, "the user is logged in");
  else
    finding_note(f, out, "nobody is logged in");
  finding_call(f, check, NULL);
}

/* One that was certainly open throughout. */
static const struct model_session *open_session(const struct model_slot *slot, const struct call *call)
{
  size_t at = 0;
  if (!slot->sessions) return NULL;
  for (const struct model_session *s; (s = table_next(&slot->module->sessions, &at));)
    if (s->slot == slot && s->opened.number && s->opened.end_number < call->number && !s->in_flight) return s;
  return NULL;
}

static void init_token(struct check *check, const struct call *call, const struct model_slot *slot)
{
  const struct model_session *s = open_session(slot, call);
  if (!s) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, SESSIONS_OPEN,
                                     "C_InitToken succeeds while this program has a session open on the slot");
  finding_note(f, &s->opened, NULL);
  finding_call(f, check, NULL);
}

/* FAQ, Q30: "NSS attempts to change the password in user mode only. (It goes to SSO mode only if your token identifies
 * itself as CKF_LOGIN_REQUIRED, but not CKF_USER_INITIALIZED)." The standard: "C_InitPIN can only be called in the R/W SO
 * Functions state"; "A token cannot be initialized if Cryptoki detects that any application has an open session with it". */
void rule_pin_03(struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  if (!slot || model_removal(slot, call)) return;
  switch (call->known) {
    case P11_F_C_InitPIN:
      if (call->rv == CKR_OK) init_pin(check, call, slot);
      return;
    case P11_F_C_InitToken:
      if (call->rv == CKR_OK) init_token(check, call, slot);
      return;
    default:
      if (login_is(call, CKU_SO)) so_login(check, slot);
  }
}
