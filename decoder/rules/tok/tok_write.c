/* CKF_WRITE_PROTECTED and read/write sessions. */
#include "decoder/rules/rules.h"

/* Of a slot: who was logged in when the flags were read. */
struct flags_read {
  uint64_t number; /* of that C_GetTokenInfo */
  uint8_t login;
};
static const struct kept_type flags_read_type = {sizeof(struct flags_read), NULL};

enum { IGNORED = 1, REFUSED, NOT_RW };

static bool template_is_token(const struct value *template)
{
  uint64_t token;
  return pick_attribute_number(template, CKA_TOKEN, &token) && token;
}

/* Does the call write to the token, not to a session object? */
static bool writes(const struct check *check, const struct call *call)
{
  const struct model_object *o = check->place.object;
  switch (call->known) {
    case P11_F_C_CreateObject: return template_is_token(&call->arg[1].in);
    case P11_F_C_GenerateKey: return template_is_token(&call->arg[2].in);
    case P11_F_C_GenerateKeyPair: return template_is_token(&call->arg[2].in) || template_is_token(&call->arg[4].in);
    case P11_F_C_CopyObject: return template_is_token(&call->arg[2].in);
    case P11_F_C_UnwrapKey: return template_is_token(&call->arg[5].in);
    case P11_F_C_SetAttributeValue:
    case P11_F_C_DestroyObject: return o && o->facts.token == TRI_YES && !o->creator;
    case P11_F_C_SetPIN: return true;
    default: return false;
  }
}

static void wrote(struct check *check, const struct call *call, const struct model_slot *slot)
{
  const struct flags_read *r = kept_get(slot->kept, &flags_read_type);
  /* "The token may change the value of the CKF_WRITE_PROTECTED flag depending on the session state" */
  if (!r || r->number != slot->token.note.number || r->login != slot->login || r->login & (r->login - 1)) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, IGNORED, "the token says that it is write-protected, and %s succeeds",
                     p11_functions[call->known].name);
  finding_note(f, &slot->token.note, NULL);
  finding_call(f, check, NULL);
}

static void could_not(struct check *check, const struct call *call, const struct model_slot *slot)
{
  struct finding *f = finding_report(check, SEVERITY_WARNING, REFUSED,
                                     "the token says that it can be written, and %s answers CKR_TOKEN_WRITE_PROTECTED",
                                     p11_functions[call->known].name);
  finding_note(f, &slot->token.note, NULL);
  finding_call(f, check, NULL);
}

static void session_info(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const struct value *flags = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, flags));
  const struct value *state = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state));
  if (!s || !(s->flags & CKF_RW_SESSION) || !flags || flags->number & CKF_RW_SESSION || !state) return;
  if (!s->opened.number || s->opened.end_number > call->number || model_removal(s->slot, call)) return;
  /* With a state of a read/write session only the flag is wrong: NSS-LOGIN-03. */
  if (state->number != CKS_RO_PUBLIC_SESSION && state->number != CKS_RO_USER_FUNCTIONS) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, NOT_RW,
                                     "C_OpenSession was asked for a read/write session and gave a read-only one");
  finding_note(f, &s->opened, NULL);
  finding_call(f, check, NULL);
}

/* FAQ, Q20: "If the token is marked read-only, then it will be treated as such. If the token is marked read/write and
 * advertises that it can generate keys, NSS uses the token [...] to generate the key and loads the user's certificate into
 * the token." */
void rule_tok_07(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  uint64_t flags;
  if (!slot) return;
  if (call->known == P11_F_C_GetSessionInfo) {
    if (call->rv == CKR_OK) session_info(check, call);
    return;
  }
  if (call->known == P11_F_C_GetTokenInfo) {
    if (call->rv != CKR_OK) return;
    struct flags_read *r = kept_make(&slot->kept, &flags_read_type);
    *r = (struct flags_read){.number = call->number, .login = model_settled(slot, call) ? slot->login : LOGIN_ANY};
    return;
  }
  if (call->rv != CKR_OK && call->rv != CKR_TOKEN_WRITE_PROTECTED) return;
  if (!slot->token.known || !model_settled(slot, call) || model_removal(slot, call)) return;
  const bool is_protected = slot->token.flags & CKF_WRITE_PROTECTED;
  if (call->known == P11_F_C_OpenSession) {
    if (!pick_in(call, 1, &flags) || !(flags & CKF_RW_SESSION) || call->rv == CKR_OK || is_protected) return;
  } else if ((call->rv == CKR_OK) != is_protected || !writes(check, call)) {
    return;
  }
  if (call->rv == CKR_OK)
    wrote(check, call, slot);
  else
    could_not(check, call, slot);
}
