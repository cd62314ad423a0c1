/* The security officer's login while read-only sessions are open. */
#include "decoder/rules/login/login_help.h"

/* A read-only session of the slot that was certainly open all the while, NULL none. Session 0 stays out: `own` goes first. */
static const struct model_session *read_only(const struct model_slot *slot, const struct call *call,
                                             const struct model_session *own)
{
  size_t at = 0;
  if (own && !(own->flags & CKF_RW_SESSION) && own->opened.number) return own;
  if (slot->sessions <= slot->rw_sessions) return NULL;
  for (const struct model_session *s; (s = table_next(&slot->module->sessions, &at));) {
    if (s->slot != slot || s->flags & CKF_RW_SESSION || !s->opened.number || s->in_flight) continue;
    if (s->opened.end_number < call->number && s->busy_end < call->number) return s;
  }
  return NULL;
}

static void so_login(struct check *check, const struct call *call, const struct model_slot *slot)
{
  const bool refused = call->rv == CKR_SESSION_READ_ONLY_EXISTS;
  if (!refused && call->rv != CKR_OK) return;
  const struct model_session *s = read_only(slot, call, check->place.session);
  if (!s || model_removal(slot, call)) return;
  struct finding *f;
  if (refused) {
    const struct finding_options o = {.fault = FAULT_CALLER};
    f = finding_report_as(
        check, &o, SEVERITY_WARNING, 1,
        "the SO logs in while a read-only session is open: the first PIN of this token cannot be set so");
  } else {
    f = finding_report(
        check, SEVERITY_INFO, 2,
        "the SO logs in while a read-only session is open: against the standard, and what NSS needs to set "
        "a first PIN");
  }
  finding_note(f, &s->opened, "read-only");
  finding_call(f, check, NULL);
}

static void opens_beside_so(struct check *check, const struct call *call, const struct model_slot *slot)
{
  uint64_t flags;
  if (call->rv != CKR_OK || slot->login != LOGIN_SO || !pick_in(call, 1, &flags) || flags & CKF_RW_SESSION) return;
  if (!model_settled(slot, call) || model_removal(slot, call)) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, 3, "C_OpenSession opens a read-only session while the SO is logged in");
  finding_note(f, &slot->last.so, NULL);
  finding_call(f, check, NULL);
}

/* The standard, C_Login: "If the application calling C_Login has a R/O session open with the token, then it will be unable
 * to log the SO into a session". PK11_InitPin (pk11auth.c) does just that: its own session of the slot is read-only. */
void rule_login_13(struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  if (!slot) return;
  if (call->known == P11_F_C_OpenSession)
    opens_beside_so(check, call, slot);
  else if (login_is(call, CKU_SO))
    so_login(check, call, slot);
}
