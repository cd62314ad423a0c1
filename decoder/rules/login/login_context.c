/* Logins for one operation: keys with CKA_ALWAYS_AUTHENTICATE, and C_Login(CKU_CONTEXT_SPECIFIC) between the C_SignInit and
 * the C_Sign of such a key. */
#include <inttypes.h>

#include "decoder/rules/login/login_help.h"

#define USE_SOON (30 * SECOND) /* a card may end what a login allows when nobody uses it */
#define MANY_USES 5

enum { SUSPECTS = 3 };

/* Of a session: the last login for an operation that failed. */
struct tried {
  struct note login;
};
static const struct kept_type tried_type = {sizeof(struct tried), NULL};

/* Of a slot: the last login for an operation that succeeded, and what was asked of the token since. */
struct watch {
  struct note login, asked[SUSPECTS];
  unsigned asks;
  uint8_t before; /* the state before it, one of LOGIN_*; 0: not known, or reported since */
};
static const struct kept_type watch_type = {sizeof(struct watch), NULL};

/* Of an object: what CKA_ALWAYS_AUTHENTICATE was read last. */
struct policy {
  struct note read;
  unsigned uses; /* with a login for each */
};
static const struct kept_type policy_type = {sizeof(struct policy), NULL};

static bool uses_private_key(int op)
{
  return op == OP_SIGN || op == OP_SIGN_RECOVER || op == OP_DECRYPT || op == OP_MESSAGE_SIGN ||
         op == OP_MESSAGE_DECRYPT;
}

/* Is that a use that must be authenticated, to the end? */
static bool completes(const struct call *call)
{
  const int out = pick_kind(call, P11_K_OUT_BYTES);
  return call->rv == CKR_OK && !(out >= 0 && pick_is_null(call, (unsigned)out)) && call->known != P11_F_C_SignUpdate &&
         call->known != P11_F_C_DecryptUpdate;
}

static struct model_object *key_of(const struct check *check, const struct model_operation *op)
{
  return op->key ? model_object(check->place.module, op->key) : NULL;
}

enum { ALWAYS_UNKNOWN, ALWAYS_NO, ALWAYS_NONE, ALWAYS_YES }; /* NONE: the module does not give the attribute */

static int always(const struct model_object *key)
{
  const struct model_attribute *a = key ? model_attribute(key, CKA_ALWAYS_AUTHENTICATE) : NULL;
  if (!a) return ALWAYS_UNKNOWN;
  if (a->length == UINT64_MAX) return a->source == SOURCE_READ ? ALWAYS_NONE : ALWAYS_UNKNOWN;
  return !a->length || a->tagged ? ALWAYS_UNKNOWN : a->number ? ALWAYS_YES : ALWAYS_NO;
}

static const struct note *policy_note(const struct model_object *key)
{
  static const struct note none;
  const struct policy *p = key ? kept_get(key->kept, &policy_type) : NULL;
  return p ? &p->read : &none;
}

/* Before and after the Init, where the caller read the attribute: NSS does it after. */
static void operation_notes(struct finding *f, const struct model_operation *op, const struct note *read)
{
  static const char detail[] = "CKA_ALWAYS_AUTHENTICATE was read";
  if (read->number && read->number < op->begun.number) finding_note(f, read, detail);
  finding_note(f, &op->begun, NULL);
  if (read->number > op->begun.number) finding_note(f, read, detail);
}

/* --- NSS-LOGIN-14 ------------------------------------------------------------------------------------------------- */

/* The operation of the session that such a login is for; NULL none. *sure: there is certainly no other. */
static struct model_operation *pending(struct model_session *s, bool *sure)
{
  struct model_operation *found = NULL;
  *sure = true;
  for (int i = 0; i < OP_KINDS; i++) {
    struct model_operation *op = &s->op[i];
    if (i == OP_FIND || i == OP_DIGEST || op->state == OP_NONE) continue;
    if (found || !model_active(op) || !uses_private_key(i)) *sure = false;
    if (model_active(op) && uses_private_key(i)) found = op;
  }
  return found;
}

static void remember_try(struct check *check, const struct call *call)
{
  if (call->rv == CKR_OK) return;
  struct tried *t = kept_make(&check->place.session->kept, &tried_type);
  model_note(&check->place, &t->login, call);
}

static void context_login(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  char code[24];
  bool sure;
  struct model_operation *op = pending(s, &sure);
  struct finding *f;
  remember_try(check, call);
  if (!sure || model_removal(s->slot, call)) return;
  if (!op) {
    if (call->rv == CKR_OK) {
      f = finding_report(check, SEVERITY_ERROR, 1,
                         "C_Login(CKU_CONTEXT_SPECIFIC) succeeds on a session in which no key is in use");
      finding_call(f, check, NULL);
    }
    const struct finding_options o = {.fault = FAULT_CALLER};
    f = finding_report_as(
        check, &o, SEVERITY_WARNING, 2,
        "the application calls C_Login(CKU_CONTEXT_SPECIFIC) before the operation is begun, or after it "
        "is over");
    finding_call(f, check, NULL);
    return;
  }
  struct model_object *key = key_of(check, op);
  if (always(key) != ALWAYS_YES) return;
  if (call->rv != CKR_USER_ALREADY_LOGGED_IN && call->rv != CKR_USER_TYPE_INVALID &&
      call->rv != CKR_OPERATION_NOT_INITIALIZED)
    return;
  f = finding_report(check, SEVERITY_ERROR, call->rv,
                     "C_Login(CKU_CONTEXT_SPECIFIC) answers %s while a key with CKA_ALWAYS_AUTHENTICATE is in use",
                     note_rv(call->rv, code));
  operation_notes(f, op, policy_note(key));
  finding_call(f, check, NULL);
}

/* The standard, private key objects: "Re-authentication occurs by calling C_Login with userType set to
 * CKU_CONTEXT_SPECIFIC immediately after a cryptographic operation using the key has been initiated"; after
 * CKR_PIN_INCORRECT "continuing the cryptographic operation will result in a behavior as if C_Login had not been called":
 * that is CKR_USER_NOT_LOGGED_IN, not CKR_OPERATION_NOT_INITIALIZED. */
void rule_login_14(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  if (!s || !model_alone(s, call)) return;
  if (call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser) {
    if (login_is(call, CKU_CONTEXT_SPECIFIC) && !login_lost(call->rv)) context_login(check, call);
    return;
  }
  if (call->rv != CKR_OPERATION_NOT_INITIALIZED) return;
  const struct tried *t = kept_get(s->kept, &tried_type);
  const struct model_operation *op = &s->op[model_op_of(call->known)];
  if (!t || t->login.rv != CKR_PIN_INCORRECT || op->state != OP_INIT || t->login.number < op->begun.end_number) return;
  if (model_removal(s->slot, call)) return;
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 3, "a wrong PIN in C_Login(CKU_CONTEXT_SPECIFIC) ends the operation");
  finding_note(f, &op->begun, NULL);
  finding_note(f, &t->login, NULL);
  finding_call(f, check, NULL);
}

/* --- NSS-LOGIN-15 ------------------------------------------------------------------------------------------------- */

static void watch_login(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (call->rv != CKR_OK || !login_is(call, CKU_CONTEXT_SPECIFIC)) return;
  struct watch *w = kept_make(&slot->kept, &watch_type);
  *w = (struct watch){.before = model_settled(slot, call) ? slot->login : 0};
  if (w->before & (w->before - 1)) w->before = 0; /* more than one state is possible */
  model_note(&check->place, &w->login, call);
}

static void watch_state(struct check *check, const struct call *call, struct watch *w)
{
  struct model_slot *slot = check->place.slot;
  const unsigned now = login_reported(call), before = w->before;
  if (!before || !now || call->number < w->login.end_number) return;
  w->before = 0;
  if (now == before || !model_settled(slot, call) || slot->login != before || model_removal(slot, call)) return;
  /* Another login or a logout since then is a cause of its own. */
  if (!model_login_still(slot, w->login.number)) return;
  const struct finding_options o = {.cause = now == LOGIN_PUBLIC ? CAUSE_PUBLIC : CAUSE_USER};
  struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, 1,
                                        "C_Login(CKU_CONTEXT_SPECIFIC) changes the login state of the session");
  const struct note *seen = before == LOGIN_USER ? &slot->last.user_seen : &slot->last.public_seen;
  finding_note(f, seen->number && seen->number < w->login.number ? seen : &slot->last.login, NULL);
  finding_note(f, &w->login, NULL);
  finding_call(f, check, NULL);
}

static void watch_question(struct check *check, const struct call *call, struct watch *w)
{
  /* Which of many it was nobody can tell: the first ones are shown. */
  if (w->asks < SUSPECTS && call->end_number > w->login.number) model_note(&check->place, &w->asked[w->asks++], call);
}

static void watch_use(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  struct model_slot *slot = check->place.slot;
  if (call->rv != CKR_USER_NOT_LOGGED_IN && call->rv != CKR_OPERATION_NOT_INITIALIZED) return;
  if (!s || !model_alone(s, call)) return;
  const struct model_operation *op = &s->op[model_op_of(call->known)];
  if (!op->context || !model_active(op) || call->end > op->login.end + USE_SOON) return;
  if (!model_settled(slot, call) || !model_login_still(slot, op->login.number) || model_removal(slot, call)) return;
  char code[24];
  const struct finding_options o = {.cause = CAUSE_NOT_LOGGED_IN};
  struct finding *f = finding_report_as(
      check, &o, SEVERITY_ERROR, 0,
      "C_Login(CKU_CONTEXT_SPECIFIC) succeeds, and the operation that it was for answers %s", note_rv(call->rv, code));
  finding_note(f, &op->begun, NULL);
  finding_note(f, &op->login, NULL);
  const struct watch *w = kept_get(slot->kept, &watch_type);
  if (w && w->login.number == op->login.number)
    for (unsigned i = 0; i < w->asks; i++) finding_note(f, &w->asked[i], "perhaps this cancelled the login");
  finding_call(f, check, NULL);
}

/* The standard, private key objects: "If C_Login returns CKR_OK the user was successfully authenticated and this sets the
 * active key in an authenticated state that lasts until the cryptographic operation has successfully or unsuccessfully been
 * completed"; "In both of these cases the session state will remain the same". NSS before bug 1333725 asked C_GetTokenInfo
 * and C_GetSessionInfo between the two, and cards forgot the PIN over it. */
void rule_login_15(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  struct watch *w;
  if (!slot) return;
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser: watch_login(check, call); return;
    case P11_F_C_GetTokenInfo:
    case P11_F_C_GetSlotInfo:
    case P11_F_C_GetAttributeValue:
      w = kept_get(slot->kept, &watch_type);
      if (w) watch_question(check, call, w);
      return;
    case P11_F_C_GetSessionInfo:
      w = kept_get(slot->kept, &watch_type);
      if (!w) return;
      watch_question(check, call, w);
      watch_state(check, call, w);
      return;
    default: watch_use(check, call);
  }
}

/* --- NSS-LOGIN-16 ------------------------------------------------------------------------------------------------- */

static void policy_read(struct check *check, const struct call *call)
{
  uint64_t handle, is_always, is_private;
  const struct value *template = pick_template(call);
  const struct value *item = pick_attribute(template, CKA_ALWAYS_AUTHENTICATE);
  struct model_slot *slot = check->place.slot;
  if (!item || !slot || !pick_in(call, 1, &handle)) return;
  if (call->rv != CKR_OK && call->rv != CKR_ATTRIBUTE_TYPE_INVALID && call->rv != CKR_ATTRIBUTE_SENSITIVE) return;
  struct model_object *o = model_object_make(check->place.module, handle, slot);
  struct policy *p = kept_make(&o->kept, &policy_type);
  model_note(&check->place, &p->read, call);
  if (!pick_attribute_number(template, CKA_ALWAYS_AUTHENTICATE, &is_always) || !is_always) return;
  if (!pick_attribute_number(template, CKA_PRIVATE, &is_private)) is_private = model_number(o, CKA_PRIVATE, 1);
  if (is_private) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, 1, "a key has CKA_ALWAYS_AUTHENTICATE and not CKA_PRIVATE");
  finding_call(f, check, NULL);
}

static void not_enforced(struct check *check, const struct model_operation *op, const struct model_object *key)
{
  struct finding *f = finding_report(check, SEVERITY_WARNING, 2,
                                     "a key says CKA_ALWAYS_AUTHENTICATE, and it is used without a login for it");
  operation_notes(f, op, policy_note(key));
  finding_call(f, check, "no C_Login(CKU_CONTEXT_SPECIFIC) since the Init");
}

static void counted(struct check *check, const struct model_operation *op, struct model_object *key)
{
  struct policy *p = kept_make(&key->kept, &policy_type);
  if (++p->uses != MANY_USES) return;
  struct finding *f =
      finding_report(check, SEVERITY_INFO, key->handle,
                     "a key with CKA_ALWAYS_AUTHENTICATE is used again and again: the user enters the PIN each time");
  finding_note(f, &op->begun, NULL);
  finding_note(f, &op->login, NULL);
  finding_call(f, check, "the fifth use");
}

static void not_told(struct check *check, const struct call *call, const struct model_operation *op,
                     const struct model_object *key, int policy)
{
  struct model_slot *slot = check->place.slot;
  if (!model_logged_in(slot) || !model_settled(slot, call) || model_removal(slot, call)) return;
  const struct finding_options o = {.cause = CAUSE_NOT_LOGGED_IN};
  struct finding *f = finding_report_as(
      check, &o, policy == ALWAYS_NO ? SEVERITY_ERROR : SEVERITY_WARNING, 3,
      policy == ALWAYS_NO ? "a key says that CKA_ALWAYS_AUTHENTICATE is false, and asks for a login for each use"
                          : "a key that does not have CKA_ALWAYS_AUTHENTICATE asks for a login for each use");
  const struct note *seen = &slot->last.user_seen, *login = &slot->last.login;
  const struct note *user = seen->number > login->number ? seen : login;
  if (user->number < op->begun.number) finding_note(f, user, "the user is logged in");
  operation_notes(f, op, policy_note(key));
  if (user->number > op->begun.number) finding_note(f, user, "the user is logged in");
  finding_call(f, check, NULL);
}

/* The standard, private key objects: CKA_ALWAYS_AUTHENTICATE "may only be set to CK_TRUE when CKA_PRIVATE is also CK_TRUE";
 * "Failing or omitting to re-authenticate when CKA_ALWAYS_AUTHENTICATE is set to CK_TRUE will result in
 * CKR_USER_NOT_LOGGED_IN". NSS asks the user once more when the key says so, and only then. */
void rule_login_16(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  if (call->known == P11_F_C_GetAttributeValue) {
    policy_read(check, call);
    return;
  }
  if (!s || !model_alone(s, call)) return;
  if (login_is(call, CKU_CONTEXT_SPECIFIC)) remember_try(check, call);
  if (model_op_of(call->known) < 0 || (call->rv != CKR_OK && call->rv != CKR_USER_NOT_LOGGED_IN)) return;
  const struct model_operation *op = &s->op[model_op_of(call->known)];
  if (!model_active(op) || (call->rv == CKR_OK && !completes(call))) return;
  struct model_object *key = key_of(check, op);
  const int policy = always(key);
  if (policy == ALWAYS_UNKNOWN) return;
  const struct tried *t = kept_get(s->kept, &tried_type);
  const bool tried = t && t->login.number > op->begun.number;
  if (call->rv == CKR_OK && policy == ALWAYS_YES && op->context) {
    counted(check, op, key);
  } else if (call->rv == CKR_OK && policy == ALWAYS_YES && !tried) {
    not_enforced(check, op, key);
  } else if (call->rv != CKR_OK && policy != ALWAYS_YES && !op->context && !tried) {
    not_told(check, call, op, key, policy);
  }
}
