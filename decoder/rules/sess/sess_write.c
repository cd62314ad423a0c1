/* Writing to the token needs a read/write session, and often a login: each has its code. */
#include "decoder/rules/rules.h"

static uint8_t of_template(const struct value *template, uint8_t otherwise)
{
  uint64_t n;
  if (template->what != VALUE_TEMPLATE || !pick_attribute_number(template, CKA_TOKEN, &n)) return otherwise;
  return n ? TRI_YES : TRI_NO;
}

/* Is it the token that the call changes? */
static uint8_t writes(const struct call *call, const struct model_object *o)
{
  const uint8_t target = o ? o->facts.token : TRI_UNKNOWN;
  switch (call->known) {
    case P11_F_C_CreateObject: return of_template(&call->arg[1].in, TRI_NO);
    case P11_F_C_CopyObject: return of_template(&call->arg[2].in, target);
    case P11_F_C_GenerateKey: return of_template(&call->arg[2].in, TRI_NO);
    case P11_F_C_GenerateKeyPair:
      return of_template(&call->arg[2].in, TRI_NO) == TRI_YES ? TRI_YES : of_template(&call->arg[4].in, TRI_NO);
    case P11_F_C_UnwrapKey: return of_template(&call->arg[5].in, TRI_NO);
    case P11_F_C_DeriveKey: return of_template(&call->arg[3].in, TRI_NO);
    default: return target; /* C_SetAttributeValue, C_DestroyObject */
  }
}

static bool says_nothing(uint64_t rv)
{
  return rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED || rv == CKR_DEVICE_ERROR || rv >= CKR_VENDOR_DEFINED;
}

static bool makes(int function)
{
  return function == P11_F_C_CreateObject || function == P11_F_C_CopyObject || function == P11_F_C_GenerateKey ||
         function == P11_F_C_GenerateKeyPair || function == P11_F_C_UnwrapKey || function == P11_F_C_DeriveKey;
}

/* Per session: it says that it is read-only, whatever was asked for. That is NSS-TOK-07's, and softoken's way with a
 * read-only database. */
struct kind {
  bool read_only;
};
static const struct kept_type kind = {sizeof(struct kind), NULL};

static void tells_kind(const struct call *call, struct model_session *s)
{
  const struct value *flags = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, flags));
  if (call->rv != CKR_OK || !flags || !(s->flags & CKF_RW_SESSION)) return;
  if (!(flags->number & CKF_RW_SESSION)) ((struct kind *)kept_make(&s->kept, &kind))->read_only = true;
}

static void in_read_write(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct model_slot *slot = s->slot;
  const struct model_token *t = &slot->token;
  char unknown[24];
  struct finding *f = NULL;
  if (!t->known || t->flags & CKF_WRITE_PROTECTED || kept_get(s->kept, &kind)) return;
  if (call->rv == CKR_SESSION_READ_ONLY)
    f = finding_report(check, SEVERITY_ERROR, 1, "%s in a read/write session returns CKR_SESSION_READ_ONLY",
                       call->info->name);
  else if (says_nothing(call->rv) && makes(call->known) && writes(call, check->place.object) == TRI_YES &&
           slot->login == LOGIN_PUBLIC && t->flags & CKF_LOGIN_REQUIRED && model_settled(slot, call))
    f = finding_report(check, SEVERITY_WARNING, 2,
                       "%s without login returns %s, which does not say that a login would help", call->info->name,
                       note_rv(call->rv, unknown));
  finding_note(f, &s->opened, NULL);
  finding_call(f, check, NULL);
}

static void in_read_only(struct check *check, const struct call *call, const struct model_session *s)
{
  if (writes(call, check->place.object) != TRI_YES) return;
  struct finding *f = NULL;
  if (call->rv == CKR_OK)
    f = finding_report(check, SEVERITY_ERROR, 3, "%s changes the token in a read-only session", call->info->name);
  finding_note(f, &s->opened, NULL);
  finding_call(f, check, NULL);
  if (call_is_probe(call)) return;
  const struct finding_options by_caller = {.fault = FAULT_CALLER};
  /* NSS tries that with what a key generation that failed has left. */
  const enum severity severity = call->known == P11_F_C_DestroyObject ? SEVERITY_INFO : SEVERITY_WARNING;
  f = finding_report_as(check, &by_caller, severity, (uint64_t)call->known,
                        "the application wants to change the token in a read-only session with %s", call->info->name);
  finding_note(f, &s->opened, NULL);
  finding_caller(f, check);
}

/* The standard, CKR_SESSION_READ_ONLY: "The specified session was unable to accomplish the desired action because it
 * is a read-only session." NSS asks for a PIN and tries again on CKR_USER_NOT_LOGGED_IN only (certutil.c, AddCert).
 * PINs are NSS-PIN-01's. */
void rule_sess_10(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  if (!s || !s->opened.number || s->opened.end_number > call->number || model_removal(s->slot, call)) return;
  if (call->known == P11_F_C_GetSessionInfo) {
    tells_kind(call, s);
    return;
  }
  (s->flags & CKF_RW_SESSION ? in_read_write : in_read_only)(check, call, s);
}
