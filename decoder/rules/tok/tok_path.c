/* Who asks for the PIN: the application, or the reader's own pad. */
#include <string.h>

#include "decoder/rules/rules.h"

#define SECOND 1000000000ull
#define ASKED_ANYWAY (3 * SECOND)
#define OFTEN 3 /* a slow machine is no fault */

/* Of a slot: logins with an empty PIN that took as long as a user does. */
struct slow {
  struct note login[OFTEN];
  unsigned logins;
};
static const struct kept_type slow_type = {sizeof(struct slow), NULL};

/* The parameter that is the PIN; of C_SetPIN the old one. */
static unsigned pin_of(const struct call *call)
{
  return call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser ? 2 : 1;
}

static void refuses_pad(struct check *check, const struct call *call, const struct model_slot *slot)
{
  char code[24];
  if (call->rv != CKR_ARGUMENTS_BAD && call->rv != CKR_PIN_LEN_RANGE) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, 1,
                                     "the token says that it asks for the PIN itself, and %s without a PIN answers %s",
                                     p11_functions[call->known].name, note_rv(call->rv, code));
  finding_note(f, &slot->token.note, NULL);
  finding_call(f, check, "pPin is NULL");
}

static void caller(struct check *check, const struct model_slot *slot, enum severity severity, const char *what)
{
  const struct finding_options o = {.fault = FAULT_CALLER};
  struct finding *f = finding_report_as(check, &o, severity, severity, "%s", what);
  finding_note(f, &slot->token.note, NULL);
  finding_call(f, check, NULL);
}

static void empty_pin(struct check *check, const struct call *call, struct model_slot *slot)
{
  if (call->end < call->start + ASKED_ANYWAY) return;
  struct slow *s = kept_make(&slot->kept, &slow_type);
  if (s->logins == OFTEN) return;
  model_note(&check->place, &s->login[s->logins++], call);
  if (s->logins < OFTEN) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, 2,
                                     "C_Login with an empty PIN takes as long as if somebody were asked for one");
  for (unsigned i = 0; i < OFTEN; i++) finding_note(f, &s->login[i], NULL);
}

/* The standard, C_Login: "To log into a token with a protected authentication path, the pPin parameter to C_Login should be
 * NULL_PTR." NSS does so when it sees the flag (pk11auth.c, pk11_CheckPassword), but for ActivCard's tokens
 * (pk11slot.c, PK11_InitToken), and never otherwise: an empty PIN is a pointer and length 0. */
void rule_tok_06(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  uint64_t length;
  if (!slot || !slot->token.known || model_removal(slot, call)) return;
  const bool pad = slot->token.flags & CKF_PROTECTED_AUTHENTICATION_PATH;
  const unsigned pin = pin_of(call);
  if (pick_is_null(call, pin)) {
    if (pad)
      refuses_pad(check, call, slot);
    else if (slot->token.flags & CKF_LOGIN_REQUIRED)
      caller(check, slot, SEVERITY_ERROR,
             "the application gives no PIN to a token that has no way of its own to ask for it");
    return;
  }
  if (call->arg[pin].in.what != VALUE_BYTES || !pick_in(call, pin + 1, &length)) return;
  if (!length) {
    if (!pad && call->known == P11_F_C_Login) empty_pin(check, call, slot);
  } else if (pad && strncmp(slot->token.maker, "ActivCard SA", 12) != 0) {
    caller(check, slot, SEVERITY_WARNING,
           "the application gives a PIN to a token that says that it asks for it itself");
  }
}
