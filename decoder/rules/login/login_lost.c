/* Logins that are lost, or appear on a token where nobody logged in. */
#include <inttypes.h>
#include <string.h>

#include "decoder/check/suspects.h"
#include "decoder/rules/rules.h"

#define IDLE 60000000000ull /* ns: tokens that log out by themselves wait longer */

/* --- NSS-LOGIN-04 ------------------------------------------------------------------------------------------------- */

static const struct note *last_proof(const struct suspects *why)
{
  return why->user.number > why->used.number ? &why->user : &why->used;
}

static void login_04(struct check *check, const struct suspects *why)
{
  const struct finding_options o = {.cause = CAUSE_PUBLIC};
  const struct note *other = checker_other(check, check->place.slot), *proof = last_proof(why);
  const uint64_t idle = why->seen.note.start > proof->end ? why->seen.note.start - proof->end : 0;
  enum severity severity = why->benign.number && idle < IDLE ? SEVERITY_ERROR : SEVERITY_WARNING;
  if (other) severity--;
  struct finding *f = finding_report_as(check, &o, severity, why->benign.number ? 1 : 0,
                                        why->benign.number ? "a call that only asks logs the user out"
                                                           : "the user is logged out, and nobody has logged out");
  finding_note(f, &why->login, NULL);
  finding_note(f, proof, NULL);
  finding_note(f, &why->benign, NULL);
  if (why->refused.number > proof->number) finding_note(f, &why->refused, NULL);
  finding_note(f, &why->seen.note, NULL);
  if (other) {
    finding_note(f, other, "another process");
    finding_hint(f, "another process uses the token: it may have logged out or reset the card");
  } else if (idle > IDLE) {
    finding_hint(f, "idle for %" PRIu64 " s before: perhaps the token logs out by itself after a time",
                 idle / 1000000000);
  }
}

/* FAQ, Q10: "login state can change instantly without NSS knowing about it (for example, when the user removes the card)": NSS
 * asks again before each use, and prompts when the answer is no. */
void rule_login_04(struct check *check, const struct call *call)
{
  (void)call;
  suspects_run(check, SUSPECT_LOGIN_04, login_04);
}

/* --- NSS-LOGIN-17 ------------------------------------------------------------------------------------------------- */

static void login_17(struct check *check, const struct suspects *why)
{
  const bool in = why->seen.seen == LOGIN_USER;
  const struct finding_options o = {.cause = in ? CAUSE_USER : CAUSE_PUBLIC};
  const struct model_token *a = &check->place.slot->token, *b = &why->elsewhere_slot->token;
  const bool one_card = a->known && b->known && *a->serial && !strcmp(a->serial, b->serial);
  struct finding *f = finding_report_as(check, &o, one_card ? SEVERITY_INFO : SEVERITY_WARNING, in,
                                        "%s on slot %" PRIu64 " shows on this slot", in ? "C_Login" : "C_Logout",
                                        why->elsewhere_slot->id);
  finding_note(f, in ? &why->public : &why->user, NULL);
  finding_note(f, &why->elsewhere, NULL);
  finding_note(f, &why->seen.note, NULL);
  if (one_card) finding_hint(f, "both slots have the serial number %s: one card may stand behind them", a->serial);
}

/* The standard, C_Login: it "logs a user into a token", and no other; NSS keeps a login state per slot (pk11auth.c). */
void rule_login_17(struct check *check, const struct call *call)
{
  (void)call;
  suspects_run(check, SUSPECT_LOGIN_17, login_17);
}
