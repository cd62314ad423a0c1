/* C_Login when somebody is logged in, C_Logout when nobody is. */
#include <inttypes.h>

#include "decoder/check/suspects.h"
#include "decoder/rules/login/login_help.h"

/* --- NSS-LOGIN-08 ------------------------------------------------------------------------------------------------- */

/* Of a slot: who logged in, and what the next one was told. */
struct second {
  struct note first; /* the last login that succeeded */
  struct login_pin pin;
  struct note again; /* one that followed and failed; cleared by the next report of the state */
  uint64_t reported; /* number of the last call that was found wrong by itself */
};
static const struct kept_type second_type = {sizeof(struct second), NULL};

static bool needs_login(const struct model_slot *slot)
{
  return !slot->token.known || slot->token.flags & CKF_LOGIN_REQUIRED;
}

static const struct note *first_login(const struct model_slot *slot, const struct second *s)
{
  return s && s->first.number      ? &s->first
         : slot->login == LOGIN_SO ? &slot->last.so
         : slot->last.login.number ? &slot->last.login
                                   : &slot->last.user_seen;
}

/* How bad is that answer to somebody who is logged in? 0: it is right, or tells of something else. */
static unsigned bad_answer(uint64_t rv, bool equal_pin)
{
  switch (rv) {
    case CKR_OK: return SEVERITY_WARNING;
    case CKR_PIN_INCORRECT: return equal_pin ? SEVERITY_ERROR : SEVERITY_WARNING;
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
    case CKR_DEVICE_ERROR:
    case CKR_ARGUMENTS_BAD:
    case CKR_USER_ANOTHER_ALREADY_LOGGED_IN: return SEVERITY_ERROR;
    default: return 0;
  }
}

static void login_again(struct check *check, const struct call *call, struct model_slot *slot, struct second *s)
{
  const struct login_pin pin = login_pin(call, 2);
  const bool equal = s && login_same_pin(pin, s->pin);
  char code[24];
  const enum severity severity = bad_answer(call->rv, equal);
  if (!severity) return;
  struct finding *f = finding_report(check, severity, call->rv, "C_Login while the user is logged in answers %s",
                                     note_rv(call->rv, code));
  finding_note(f, first_login(slot, s), NULL);
  finding_call(f, check, call->rv != CKR_PIN_INCORRECT ? NULL : equal ? "the same PIN" : "the PIN was tried");
}

/* The standard's C_Login leaves the order of the codes open: that a session is read-only may be said first. */
static void other_login(struct check *check, const struct call *call, struct model_slot *slot, const struct second *s)
{
  const bool so = slot->login == LOGIN_SO;
  if (call->rv != CKR_OK) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, 1, "%s logs in while %s is logged in",
                                     so ? "the user" : "the SO", so ? "the SO" : "the user");
  finding_note(f, first_login(slot, s), NULL);
  finding_call(f, check, NULL);
}

static void state_after(struct check *check, const struct call *call, struct model_slot *slot, struct second *s)
{
  const unsigned now = login_reported(call);
  if (!s->again.number || !now || call->number < s->again.end_number) return;
  const struct note again = s->again;
  s->again = (struct note){0};
  if (now != LOGIN_PUBLIC || slot->login != LOGIN_USER || !model_settled(slot, call) || model_removal(slot, call))
    return;
  /* Only what came after the second login can be its doing. */
  if (!model_login_still(slot, again.end_number + 1) || slot->last.user_seen.number > again.number) return;
  const struct finding_options o = {.cause = CAUSE_PUBLIC};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_ERROR, 2, "a second C_Login fails, and the user is logged out by it");
  finding_note(f, first_login(slot, s), NULL);
  finding_note(f, &again, NULL);
  finding_call(f, check, NULL);
}

/* Has the session, or a report, lived through the time since that login? When a card is pulled and put in again unseen its
 * sessions are gone, and so is the login: one that was opened afterwards tells nothing. */
static bool lived(const struct model_slot *slot, const struct model_session *session, const struct second *s)
{
  if (slot->has_flags && !(slot->flags & CKF_REMOVABLE_DEVICE)) return true;
  return session->opened.number < first_login(slot, s)->number ||
         slot->last.user_seen.number > session->opened.end_number;
}

static void remember_login(struct check *check, const struct call *call, struct model_slot *slot)
{
  if (call->rv != CKR_OK) return;
  struct second *s = kept_make(&slot->kept, &second_type);
  *s = (struct second){.pin = login_pin(call, 2), .reported = s->reported};
  if (model_settled(slot, call)) model_note(&check->place, &s->first, call);
}

/* In each order of the calls that overlap it the user was logged in already. */
static void login_in_any_order(struct check *check)
{
  const struct model_observation *seen = check->seen;
  const struct second *s = kept_get(seen->slot->kept, &second_type);
  const struct note *first = &seen->slot->last.login;
  if (!check->why || !(check->why->rules & SUSPECT_ANSWER) || seen->note.known == P11_F_C_Logout) return;
  if (!(seen->possible & LOGIN_USER) || seen->note.values < 2 || seen->note.value[1] != CKU_USER) return;
  if ((s && s->reported == seen->note.number) || !needs_login(seen->slot)) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, CKR_OK, "C_Login while the user is logged in answers %s", "CKR_OK");
  if (first->number < seen->note.number) finding_note(f, first, NULL);
  finding_call(f, check, "whatever the order of the calls that overlap it");
}

/* The standard has CKR_USER_ALREADY_LOGGED_IN for it: "Indicates that the specified user cannot be logged into the session,
 * because it is already logged into the session." NSS takes that code as success (pk11auth.c, pk11_CheckPassword), and any
 * other error as a failure. Keys with a login for each use are NSS-LOGIN-14's. */
void rule_login_08(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (check->seen) {
    login_in_any_order(check);
    return;
  }
  if (!slot || !check->place.session) return;
  if (call->known == P11_F_C_GetSessionInfo) {
    struct second *s = kept_get(slot->kept, &second_type);
    if (s) state_after(check, call, slot, s);
    return;
  }
  const bool user = login_is(call, CKU_USER), so = login_is(call, CKU_SO);
  if (!user && !so) return;
  struct second *s = kept_get(slot->kept, &second_type);
  const bool certain = model_logged_in(slot) || (slot->login == LOGIN_SO && slot->last.so.number);
  /* A NULL PIN without a PIN pad is the caller's mistake (NSS-TOK-06). */
  if (certain && model_settled(slot, call) && !model_removal(slot, call) && needs_login(slot) &&
      !login_lost(call->rv) && !(pick_is_null(call, 2) && call->rv == CKR_ARGUMENTS_BAD) &&
      lived(slot, check->place.session, s)) {
    if ((slot->login == LOGIN_SO) != so) {
      other_login(check, call, slot, s);
    } else {
      login_again(check, call, slot, s);
    }
    s = kept_make(&slot->kept, &second_type);
    s->reported = call->number;
    if (user && call->rv != CKR_OK && call->rv != CKR_USER_ALREADY_LOGGED_IN) {
      s = kept_make(&slot->kept, &second_type);
      model_note(&check->place, &s->again, call);
    }
  }
  remember_login(check, call, slot);
}

/* --- NSS-LOGIN-11 ------------------------------------------------------------------------------------------------- */

/* Of a slot: the last C_Logout that had nothing to do, and the last that was found wrong. */
struct idle {
  struct note logout;
  uint64_t reported; /* number */
};
static const struct kept_type idle_type = {sizeof(struct idle), NULL};

static void logout(struct check *check, const struct call *call, struct model_slot *slot)
{
  char code[24];
  if (!model_logged_out(slot) || !model_settled(slot, call) || model_removal(slot, call) || !needs_login(slot)) return;
  if (login_lost(call->rv)) return;
  struct idle *i = kept_make(&slot->kept, &idle_type);
  model_note(&check->place, &i->logout, call);
  if (call->rv == CKR_USER_NOT_LOGGED_IN) return;
  i->reported = call->number;
  struct finding *f = finding_report(check, call->rv == CKR_OK ? SEVERITY_WARNING : SEVERITY_ERROR, call->rv,
                                     "C_Logout when nobody is logged in answers %s", note_rv(call->rv, code));
  const struct note *seen = &slot->last.public_seen;
  const struct note *out = slot->last.logout.number > slot->last.all.number ? &slot->last.logout : &slot->last.all;
  finding_note(f, seen->number > out->number ? seen : out, "nobody is logged in since");
  finding_call(f, check, NULL);
}

/* The logout reset the card: what was open is not any more. A card that was pulled meanwhile looks like that too. */
static void dead_after(struct check *check, const struct call *call, struct model_slot *slot)
{
  struct idle *i = kept_get(slot->kept, &idle_type);
  const struct model_session *s = check->place.session;
  if (!i || !i->logout.number || !slot->has_flags || slot->flags & CKF_REMOVABLE_DEVICE) return;
  const struct note logout = i->logout;
  i->logout = (struct note){0};
  if (!model_alone(s, call) || model_doubtful(s)) return;
  if (!s->opened.number || s->opened.end_number > logout.number || s->busy_end > call->number) return;
  /* Once it was used, with success or not, it was there; only the first call on a session after the logout tells. */
  if (s->busy_end > logout.end_number) return;
  if (call->number < logout.end_number || call->start > logout.end + SECOND || !model_settled(slot, call)) return;
  if (model_removal(slot, call)) return;
  const struct finding_options o = {.cause = CAUSE_DEAD_SESSION};
  struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, 1,
                                        "C_Logout when nobody is logged in ends the sessions of the token");
  finding_note(f, &s->opened, NULL);
  finding_note(f, &logout, NULL);
  finding_call(f, check, NULL);
}

/* In each order of the calls that overlap it nobody was logged in. */
static void logout_in_any_order(struct check *check)
{
  const struct model_observation *seen = check->seen;
  const struct idle *i = kept_get(seen->slot->kept, &idle_type);
  if (!check->why || !(check->why->rules & SUSPECT_ANSWER) || seen->note.known != P11_F_C_Logout) return;
  if ((i && i->reported == seen->note.number) || !needs_login(seen->slot)) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, CKR_OK, "C_Logout when nobody is logged in answers %s", "CKR_OK");
  finding_call(f, check, "whatever the order of the calls that overlap it");
}

/* The standard, C_Logout: its codes have CKR_USER_NOT_LOGGED_IN for it, and nothing says that it does more. NSS calls it
 * blindly before it checks a password (pk11auth.c, PK11_CheckUserPassword) and does not look at the answer. */
void rule_login_11(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (check->seen) {
    logout_in_any_order(check);
    return;
  }
  if (call->rv == CKR_OK && call->known != P11_F_C_Logout) return;
  if (!slot || !check->place.session) return;
  if (call->known == P11_F_C_Logout)
    logout(check, call, slot);
  else if (call->rv == CKR_SESSION_HANDLE_INVALID || call->rv == CKR_SESSION_CLOSED)
    dead_after(check, call, slot);
}
