/* Changing PINs. */
#include <inttypes.h>

#include "decoder/rules/login/login_help.h"

/* --- NSS-PIN-01 --------------------------------------------------------------------------------------------------- */

enum { LENGTH_REFUSED = 1, LENGTH_TAKEN, READ_ONLY };

/* Codes that say what the matter is. */
static bool tells(uint64_t rv)
{
  switch (rv) {
    case CKR_OK:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_EXPIRED:
    case CKR_PIN_LOCKED:
    case CKR_PIN_TOO_WEAK:
    case CKR_USER_PIN_NOT_INITIALIZED:
    case CKR_TOKEN_WRITE_PROTECTED:
    case CKR_SESSION_READ_ONLY:
    case CKR_OPERATION_ACTIVE: return true;
    default: return login_lost(rv);
  }
}

/* On the length of the new PIN, where the token tells its limits. */
static void length(struct check *check, const struct call *call, const struct model_slot *slot)
{
  const struct model_token *t = &slot->token;
  uint64_t n;
  if (pick_is_null(call, 3) || !pick_in(call, 4, &n)) return;
  if (!t->known || !t->max_pin || t->max_pin == UINT64_MAX || t->min_pin > t->max_pin) return;
  const bool inside = n >= t->min_pin && n <= t->max_pin;
  if (inside != (call->rv == CKR_PIN_LEN_RANGE)) return;
  struct finding *f = inside
                          ? finding_report(check, SEVERITY_ERROR, LENGTH_REFUSED,
                                           "C_SetPIN answers CKR_PIN_LEN_RANGE to a PIN whose length the token allows")
                          : finding_report(check, SEVERITY_WARNING, LENGTH_TAKEN,
                                           "C_SetPIN takes a PIN whose length the token does not allow");
  finding_note(f, &t->note, "ulMinPinLen=%" PRIu64 " ulMaxPinLen=%" PRIu64, t->min_pin, t->max_pin);
  finding_call(f, check, "a new PIN of %" PRIu64 " bytes", n);
}

/* FAQ, Q30: "It's perfectly valid to reject the password change request with a return value such as
 * CKR_FUNCTION_NOT_SUPPORTED." NSS logs in before, in another session, and then calls C_SetPIN in a read/write one
 * (pk11auth.c, PK11_ChangePW). */
void rule_pin_01(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  struct model_slot *slot = check->place.slot;
  char code[24];
  if (!s || !slot || !s->opened.number || model_removal(slot, call)) return;
  if (!(s->flags & CKF_RW_SESSION)) {
    if (call->rv != CKR_OK) return;
    struct finding *f = finding_report(check, SEVERITY_ERROR, READ_ONLY, "C_SetPIN succeeds in a read-only session");
    finding_note(f, &s->opened, "read-only");
    finding_call(f, check, NULL);
    return;
  }
  if (call->rv == CKR_OK || call->rv == CKR_PIN_LEN_RANGE) {
    length(check, call, slot);
    return;
  }
  /* A NULL PIN where there is no PIN pad, and the reverse: NSS-TOK-06. */
  if (tells(call->rv) || (call->rv == CKR_ARGUMENTS_BAD && (pick_is_null(call, 1) || pick_is_null(call, 3)))) return;
  const bool not_in = call->rv == CKR_USER_NOT_LOGGED_IN;
  if (not_in && (slot->login & (slot->login - 1) || !model_settled(slot, call))) return;
  const struct finding_options o = {.cause = not_in ? CAUSE_NOT_LOGGED_IN : CAUSE_NONE};
  /* A device may fail, and a login before is no great harm. */
  const bool mild =
      (not_in && slot->login == LOGIN_PUBLIC) || call->rv == CKR_DEVICE_ERROR || call->rv == CKR_DEVICE_MEMORY;
  struct finding *f = finding_report_as(check, &o, mild ? SEVERITY_WARNING : SEVERITY_ERROR, call->rv + 16,
                                        "C_SetPIN in a read/write session answers %s", note_rv(call->rv, code));
  finding_note(f, &s->opened, "read/write");
  finding_call(f, check, NULL);
}

/* --- NSS-PIN-02 --------------------------------------------------------------------------------------------------- */

/* Of a slot: the last change of the user's PIN. */
struct change {
  struct note set;
  struct login_pin old, new; /* old: of C_InitPIN unknown */
  uint64_t over; /* LEAVE number of the last change or login that is over: those that overlap tell nothing */
};
static const struct kept_type change_type = {sizeof(struct change), NULL};

static void changed(struct check *check, const struct call *call, struct model_slot *slot, struct change *c)
{
  const bool init = call->known == P11_F_C_InitPIN;
  const struct change was = *c;
  *c = (struct change){.over = was.over};
  /* The SO's own PIN is another one; without a PIN there is nothing to compare. */
  if (!init && (slot->login & LOGIN_SO || !slot->login)) return;
  if (pick_is_null(call, init ? 1 : 3) || was.over > call->number || !model_settled(slot, call)) return;
  c->new = login_pin(call, init ? 1 : 3);
  if (!init) c->old = login_pin(call, 1);
  model_note(&check->place, &c->set, call);
}

static void used(struct check *check, const struct call *call, const struct change *c, unsigned index)
{
  const struct login_pin pin = login_pin(call, index);
  struct finding *f;
  if (!c->set.number || c->set.end_number > call->number || pick_is_null(call, index)) return;
  if (call->rv == CKR_PIN_INCORRECT && login_same_pin(pin, c->new)) {
    f = finding_report(check, SEVERITY_ERROR, 1, "the PIN that %s has set is answered CKR_PIN_INCORRECT",
                       p11_functions[c->set.known].name);
    finding_note(f, &c->set, NULL);
    finding_call(f, check, "the new PIN");
  } else if (call->rv == CKR_OK && login_same_pin(pin, c->old) && login_other_pin(pin, c->new)) {
    f = finding_report(check, SEVERITY_ERROR, 2, "the PIN that C_SetPIN has replaced is still accepted");
    finding_note(f, &c->set, NULL);
    finding_call(f, check, "the old PIN");
  } else {
    return;
  }
  finding_hint(f, "another program may have changed the PIN in between");
}

/* The standard: "C_SetPIN modifies the PIN of the user that is currently logged in, or the CKU_USER PIN if the session is
 * not logged in." The trace has tags of PINs, which are of one process: equal tags, equal PINs. */
void rule_pin_02(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (!slot) return;
  struct change *c = kept_get(slot->kept, &change_type);
  if (call->known == P11_F_C_InitToken) {
    if (call->rv == CKR_OK) kept_drop(&slot->kept, &change_type);
    return;
  }
  const bool login = call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser;
  if (login && (!c || !login_is(call, CKU_USER))) return;
  if (!login && !c) c = kept_make(&slot->kept, &change_type);
  if (login)
    used(check, call, c, 2);
  else if (call->known == P11_F_C_SetPIN && !(slot->login & LOGIN_SO))
    used(check, call, c, 1);
  if (!login && call->rv == CKR_OK) changed(check, call, slot, c);
  c->over = call->end_number;
}
