/* C_GetSessionInfo right after a login, and logins that nobody made. */
#include <inttypes.h>

#include "decoder/check/suspects.h"
#include "decoder/rules/login/login_help.h"

/* --- NSS-LOGIN-09 ------------------------------------------------------------------------------------------------- */

/* Of a slot: successes in a row that were not confirmed. */
struct loop {
  unsigned cycles;
  uint64_t asked; /* ns: when the first of them was made */
};
static const struct kept_type loop_type = {sizeof(struct loop), NULL};

static void login_09(struct check *check, const struct suspects *why)
{
  const struct finding_options o = {.cause = CAUSE_PUBLIC};
  struct loop *l = kept_make(&check->place.slot->kept, &loop_type);
  const struct note *login = &why->login, *seen = &why->seen.note;
  if (!l->cycles++) l->asked = login->start;
  struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, 0,
                                        "C_Login succeeds, and C_GetSessionInfo reports the token logged out");
  finding_note(f, login, NULL);
  finding_note(f, seen, NULL);
  if (login->values && login->value[0] != why->seen.session)
    finding_hint(f,
                 "the login was made on session 0x%" PRIx64 " and the state asked on 0x%" PRIx64
                 ": perhaps it does not reach other sessions (NSS-LOGIN-01)",
                 login->value[0], why->seen.session);
  if (l->cycles < 2 || finding_explained(check, CAUSE_PUBLIC)) return;
  const uint64_t ms = (seen->end > l->asked ? seen->end - l->asked : 0) / 1000000;
  finding_say(check, 0,
              "PIN prompt loop: %u logins in a row succeed within %" PRIu64 ".%03" PRIu64
              " s, and after each C_GetSessionInfo reports the token logged out",
              l->cycles, ms / 1000, ms % 1000);
}

/* FAQ, Q10: "NSS calls C_GetSessionInfo to get the login/logout state. NSS never attempts to cache this information [...]. You
 * must update all sessions correctly when the state changes. Not doing so is a common source of problems." NSS does not check
 * after a success (pk11auth.c, PK11_CheckPassword): the next PK11_IsLoggedIn asks the card, and prompts again. What another
 * session than the one that logged in reports waits for that one, which tells NSS-LOGIN-01 from this. */
void rule_login_09(struct check *check, const struct call *call)
{
  (void)call;
  suspects_run(check, SUSPECT_LOGIN_09, login_09);
  if (check->seen && !check->seen->answer && check->seen->seen == LOGIN_USER)
    kept_drop(&check->place.slot->kept, &loop_type);
}

/* --- NSS-LOGIN-05 ------------------------------------------------------------------------------------------------- */

static void login_05(struct check *check, const struct suspects *why)
{
  const struct finding_options o = {.cause = CAUSE_USER};
  const struct note *other = checker_other(check, check->place.slot);
  const struct note *public = why->public.number > why->all.number ? &why->public : &why->all;
  if (why->gone.number > public->number) public = &why->gone;
  const bool claim = why->seen.answer;
  struct finding *f =
      finding_report_as(check, &o, other || why->late ? SEVERITY_WARNING : SEVERITY_ERROR, claim,
                        claim ? "C_Login answers CKR_USER_ALREADY_LOGGED_IN, and this application has not logged in"
                              : "C_GetSessionInfo reports the user logged in, and this application has not logged in");
  finding_note(f, public->number ? public : &check->place.module->initialized, "nobody is logged in");
  finding_note(f, &why->seen.note, NULL);
  if (claim && check->seen && !check->seen->answer) finding_call(f, check, NULL);
  if (!other) return;
  finding_note(f, other, "another process");
  finding_hint(f, "another process uses the token: perhaps its login holds for all (shared authentication)");
}

/* The standard, C_Login: a login is the application's, for all its sessions with the token. NSS logs in only when
 * C_GetSessionInfo reports a public state (pk11auth.c, PK11_DoPassword). */
void rule_login_05(struct check *check, const struct call *call)
{
  (void)call;
  suspects_run(check, SUSPECT_LOGIN_05, login_05);
}
