/* The user is logged in, and a key is refused nevertheless. */
#include "decoder/rules/login/login_help.h"

#define SOON (5 * SECOND) /* NSS believes a state for one second (pk11auth.c, lastLoginCheck) */

/* INIT: begins an operation: the login for a single use comes after it. USE: may ask for that login. PLAIN: neither. */
enum { INIT = 1, USE, PLAIN };

static int part_of(int function)
{
  switch (function) {
    case P11_F_C_SignInit:
    case P11_F_C_SignRecoverInit:
    case P11_F_C_DecryptInit:
    case P11_F_C_MessageSignInit:
    case P11_F_C_MessageDecryptInit: return INIT;
    case P11_F_C_GenerateKeyPair:
    case P11_F_C_GetAttributeValue: return PLAIN;
    default: return USE;
  }
}

/* Of a slot: a refusal that a later report makes certain. */
struct refusal {
  struct note call, user;
};
static const struct kept_type refusal_type = {sizeof(struct refusal), NULL};

/* Of a key: its first use without a login for it. */
struct free_use {
  struct note use;
};
static const struct kept_type free_use_type = {sizeof(struct free_use), NULL};

static const char sentence[] = "the user is logged in, and the use of a private key fails with CKR_USER_NOT_LOGGED_IN";

static struct finding *report(struct check *check, enum severity severity, bool same)
{
  const struct finding_options o = {.cause = CAUSE_NOT_LOGGED_IN, .same = same};
  return finding_report_as(check, &o, severity, 0, "%s", sentence);
}

/* NSS asks again after the failure: the module stands by it. */
static void still_user(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  struct refusal *r = slot ? kept_get(slot->kept, &refusal_type) : NULL;
  if (!r || !r->call.number || call->number < r->call.end_number) return;
  const unsigned now = login_reported(call);
  if (!now) return;
  const struct refusal was = *r;
  *r = (struct refusal){0};
  if (now != LOGIN_USER || !model_settled(slot, call) || model_removal(slot, call)) return;
  if (!model_login_still(slot, was.call.number)) return;
  struct finding *f = report(check, SEVERITY_ERROR, true);
  finding_note(f, &was.user, NULL);
  finding_note(f, &was.call, NULL);
  finding_call(f, check, "and it still says so");
}

static struct model_object *key_of(const struct check *check, int part)
{
  const int op = model_op_of(check->call->known);
  if (op < 0 || part != USE) return check->place.object;
  const struct model_operation *work = &check->place.session->op[op];
  return work->key ? model_object(check->place.module, work->key) : NULL;
}

static bool ends_use(const struct call *call)
{
  switch (call->known) {
    case P11_F_C_Sign:
    case P11_F_C_SignFinal:
    case P11_F_C_SignRecover:
    case P11_F_C_Decrypt:
    case P11_F_C_DecryptFinal: return !model_asks_length(call);
    default: return false;
  }
}

static void used(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  if (!s || !ends_use(call)) return;
  const struct model_operation *op = &s->op[model_op_of(call->known)];
  if (op->context || !op->key) return;
  struct model_object *key = model_object_make(check->place.module, op->key, s->slot);
  struct free_use *u = kept_make(&key->kept, &free_use_type);
  if (!u->use.number) model_note(&check->place, &u->use, call);
}

/* TRI_YES: the key asks for a login for each use. *use: how that is known, NULL from CKA_ALWAYS_AUTHENTICATE. */
static enum model_tri always(const struct model_object *key, int part, const struct note **use)
{
  *use = NULL;
  if (part == PLAIN) return TRI_NO;
  const uint64_t n = model_number(key, CKA_ALWAYS_AUTHENTICATE, UINT64_MAX);
  if (n != UINT64_MAX) return n ? TRI_YES : TRI_NO;
  const struct free_use *u = key ? kept_get(key->kept, &free_use_type) : NULL;
  if (!u) return TRI_UNKNOWN;
  *use = &u->use;
  return TRI_NO;
}

/* FAQ, Q10: "NSS calls C_GetSessionInfo to get the login/logout state." What it says must be true for keys too: NSS does not
 * log in again when C_SignInit fails (pk11obj.c, PK11_Sign). */
void rule_login_06(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (call->known == P11_F_C_GetSessionInfo) {
    still_user(check, call);
    return;
  }
  if (call->rv == CKR_OK) used(check, call);
  if (call->rv != CKR_USER_NOT_LOGGED_IN || !slot || !check->place.session || !model_logged_in(slot)) return;
  if (!model_settled(slot, call) || model_removal(slot, call)) return;
  const struct note *seen = &slot->last.user_seen, *login = &slot->last.login;
  const struct note *user = seen->number > login->number ? seen : login;
  if (!user->number || call->start > user->end + SOON) return;
  const int part = part_of(call->known);
  if (call->known == P11_F_C_GetAttributeValue) {
    const struct model_object *o = check->place.object;
    if (!o || (o->facts.is_private != TRI_YES && o->facts.class != CKO_PRIVATE_KEY)) return;
  }
  const struct note *use;
  const enum model_tri policy = always(key_of(check, part), part, &use);
  if (policy == TRI_YES) return;
  /* A key that asks for a login for each use is right to refuse without one: only the Init may not. */
  struct finding *f = report(check,
                             policy == TRI_NO ? SEVERITY_ERROR
                             : part == INIT   ? SEVERITY_WARNING
                                              : SEVERITY_INFO,
                             false);
  if (use && use->number < user->number) finding_note(f, use, "the key needed no login for each use");
  finding_note(f, user, NULL);
  if (use && use->number > user->number) finding_note(f, use, "the key needed no login for each use");
  finding_call(f, check, NULL);
  if (policy == TRI_NO) return;
  if (part != INIT) {
    finding_hint(f,
                 "whether the key has CKA_ALWAYS_AUTHENTICATE, and so needs a login for each use, is not in the trace");
    return;
  }
  finding_hint(f, "another program may have reset the card in between");
  struct refusal *r = kept_make(&slot->kept, &refusal_type);
  r->user = *user;
  model_note(&check->place, &r->call, call);
}
