/* Sessions of one token that do not agree. */
#include "decoder/check/suspects.h"
#include "decoder/rules/rules.h"

/* Where another process may have changed the state between two reports, one step less. */
static enum severity step_down(struct check *check, enum severity severity, const struct note **other)
{
  *other = checker_other(check, check->place.slot);
  return *other ? severity - 1 : severity;
}

static void by_another(struct finding *f, const struct note *other)
{
  if (!other) return;
  finding_note(f, other, "another process");
  finding_hint(f, "another process uses the token: it may have logged in or out, or reset the card");
}

/* The first session again: what the other one said is counted already. */
static bool seen_back(const struct suspects *why)
{
  return why->back_and_forth && why->seen.seen == LOGIN_USER;
}

/* --- NSS-LOGIN-01 ------------------------------------------------------------------------------------------------- */

enum { OLD_SESSION = 1, NEW_SESSION, STILL_USER, GENERIC };

static unsigned kind_of(const struct suspects *why)
{
  if (why->other.number) return why->begun.number > why->login.number ? NEW_SESSION : OLD_SESSION;
  return why->seen.seen == LOGIN_USER && why->logout.number > why->login.number ? STILL_USER : GENERIC;
}

enum { NOTES = 7 };

/* Some are in it twice. */
static void in_order(struct finding *f, const struct note *const note[NOTES])
{
  uint64_t after = 0;
  for (int n = 0; n < NOTES; n++) {
    const struct note *next = NULL;
    for (int i = 0; i < NOTES; i++)
      if (note[i] && note[i]->number > after && (!next || note[i]->number < next->number)) next = note[i];
    if (!next) return;
    finding_note(f, next, NULL);
    after = next->number;
  }
}

static void login_01(struct check *check, const struct suspects *why)
{
  static const char *const text[] = {
      [OLD_SESSION] = "after C_Login on one session another session still reports the token logged out",
      [NEW_SESSION] = "a session that is opened after C_Login reports the token logged out",
      [STILL_USER] = "C_Logout succeeds, and the user is logged in still",
      [GENERIC] = "no order of the calls before and beside it explains what this call says of the login",
  };
  const enum cause cause = why->seen.seen == LOGIN_PUBLIC ? CAUSE_PUBLIC : CAUSE_USER;
  const struct finding_options o = {.cause = cause, .same = seen_back(why)};
  const unsigned kind = kind_of(why);
  const struct note *other;
  const bool certain = why->back_and_forth || kind >= STILL_USER;
  const enum severity severity = step_down(check, certain ? SEVERITY_ERROR : SEVERITY_WARNING, &other);
  struct finding *f = finding_report_as(check, &o, severity, kind, "%s", text[kind]);
  const bool generic = kind == GENERIC;
  in_order(f, (const struct note *[]){kind != STILL_USER ? &why->login : NULL,
                                      kind == STILL_USER || generic ? &why->logout : NULL, generic ? &why->all : NULL,
                                      kind == NEW_SESSION ? &why->begun : NULL, &why->other_before, &why->other,
                                      &why->seen.note});
  by_another(f, other);
}

/* FAQ, Q10: "You must update all sessions correctly when the state changes. Not doing so is a common source of problems." Two
 * reports may be explained by a reset of the card between them; three that go back and forth are not. */
void rule_login_01(struct check *check, const struct call *call)
{
  (void)call;
  suspects_run(check, SUSPECT_LOGIN_01, login_01);
}

/* --- NSS-LOGIN-02 ------------------------------------------------------------------------------------------------- */

static void login_02(struct check *check, const struct suspects *why)
{
  const struct finding_options o = {.cause = why->seen.seen == LOGIN_PUBLIC ? CAUSE_PUBLIC : CAUSE_USER,
                                    .same = seen_back(why)};
  const struct note *other;
  const enum severity severity = step_down(check, why->back_and_forth ? SEVERITY_ERROR : SEVERITY_WARNING, &other);
  struct finding *f = finding_report_as(check, &o, severity, 0,
                                        "one session reports the user logged in, and another one the token logged out");
  finding_note(f, &why->other_before, NULL);
  finding_note(f, &why->other, NULL);
  finding_note(f, &why->seen.note, NULL);
  by_another(f, other);
}

/* The standard, read-only and read/write session states: all sessions of an application with a token are logged in or none is.
 * It needs nothing of what was before, so that it works on a trace that begins late. */
void rule_login_02(struct check *check, const struct call *call)
{
  (void)call;
  suspects_run(check, SUSPECT_LOGIN_02, login_02);
}
