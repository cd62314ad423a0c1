/* What C_SetPIN does beside changing the PIN. */
#include "decoder/check/suspects.h"
#include "decoder/rules/rules.h"

static void pin_04(struct check *check, const struct suspects *why)
{
  const struct finding_options o = {.cause = CAUSE_PUBLIC};
  const char *name = why->pin.known == P11_F_C_InitPIN ? "C_InitPIN" : "C_SetPIN";
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, 0, "%s logs the user out", name);
  finding_note(f, why->user.number > why->login.number ? &why->user : &why->login, NULL);
  finding_note(f, &why->pin, NULL);
  finding_note(f, &why->seen.note, NULL);
}

/* The first use of a session after the change finds it gone. */
static void dead_session(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const struct model_slot *slot = check->place.slot;
  if (!s || !s->opened.number || s->lost || call->rv != CKR_SESSION_HANDLE_INVALID) return;
  const struct note *pin = &slot->last.pin;
  if (!pin->number || s->opened.number > pin->number || s->busy_end > pin->end_number || call->number < pin->end_number)
    return;
  if (!model_settled(slot, call) || slot->changed > pin->number || model_removal(slot, call)) return;
  const struct finding_options o = {.cause = CAUSE_DEAD_SESSION};
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, 1, "C_SetPIN ends the sessions of the token");
  finding_note(f, &s->opened, NULL);
  finding_note(f, pin, NULL);
  finding_call(f, check, NULL);
}

/* The standard, C_SetPIN: it "modifies the PIN of the user that is currently logged in", and nothing else is said. NSS reads
 * the token's information again afterwards, and does not log in again (pk11auth.c, PK11_ChangePW). */
void rule_pin_04(struct check *check, const struct call *call)
{
  if (check->seen)
    suspects_run(check, SUSPECT_PIN_04, pin_04);
  else if (call)
    dead_session(check, call);
}
