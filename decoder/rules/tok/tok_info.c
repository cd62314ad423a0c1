/* Tokens: labels and flags. */
#include <inttypes.h>
#include <string.h>

#include "decoder/model/serial.h"
#include "decoder/rules/rules.h"

#define SECOND 1000000000ull

static bool initialized(const struct model_token *t)
{
  return t->flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED);
}

/* The call itself as evidence, with the token's serial number as text to show. */
static void with_serial(struct finding *f, struct check *check, const struct model_token *t)
{
  char serial[80];
  finding_call(f, check, "serial %s", show_bytes((const uint8_t *)t->serial, strlen(t->serial), serial, sizeof serial));
}

/* Could the token that was last seen in that slot have been pulled out since, unseen? */
static bool surely_present(const struct model_slot *slot, uint64_t now)
{
  if (slot->has_flags && !(slot->flags & CKF_REMOVABLE_DEVICE)) return true;
  return now < slot->seen + 60 * SECOND;
}

static void same_label(struct check *check, const struct model_token *token, struct model_slot *other)
{
  struct model_slot *here = check->place.slot;
  const bool one_module = here->module == other->module;
  const bool one_serial = serial_tells(token->serial) && !strcmp(token->serial, other->token.serial);
  const char *path = model_module_path(other->module);
  /* One card that was moved from one reader to the other looks like this too. */
  if (one_module && one_serial && check->call->end > other->seen + SECOND &&
      !(other->has_flags && !(other->flags & CKF_REMOVABLE_DEVICE)))
    return;
  const enum severity severity = !one_module && one_serial   ? SEVERITY_INFO
                                 : one_module && !one_serial ? SEVERITY_ERROR
                                                             : SEVERITY_WARNING;
  /* One finding for the pair, whichever is read last. */
  const bool other_first = other->module->id < here->module->id || (one_module && other->id < here->id);
  const struct finding_options o = {.slot = other_first ? other : here};
  const uint64_t key = pick_hash(token->label, strlen(token->label)) ^ pick_hash(path, strlen(path)) ^
                       ((other_first ? here : other)->id << 1);
  char label[140], theirs[80], ours[80];
  show_bytes((const uint8_t *)token->label, strlen(token->label), label, sizeof label);
  show_bytes((const uint8_t *)other->token.serial, strlen(other->token.serial), theirs, sizeof theirs);
  show_bytes((const uint8_t *)token->serial, strlen(token->serial), ours, sizeof ours);
  struct finding *f = finding_report_as(check, &o, severity, key,
                                        one_serial && !one_module ? "one token is seen through two modules as \"%s\""
                                                                  : "two tokens that are present are called \"%s\"",
                                        label);
  finding_note(f, &other->token.note, "slot %" PRIu64 " of %s: label \"%s\", serial %s", other->id,
               model_module_name(other->module), label, theirs);
  finding_call(f, check, "slot %" PRIu64 " of %s: label \"%s\", serial %s", here->id, model_module_name(here->module),
               label, ours);
}

/* The names that NSS gives to its own two tokens (FAQ, Q6: "each token label should be unique"). */
static bool called_like_nss(const struct model_token *t)
{
  return strncmp(t->maker, "Mozilla", 7) &&
         (!strcmp(t->label, "NSS Certificate DB") || !strcmp(t->label, "NSS Generic Crypto Services"));
}

/* FAQ, Q6: "The label for a token certificate is presented to the user as follows: token label:certificate label. This
 * implies that each token label should be unique and meaningful to the user". NSS takes the first match (pk11slot.c,
 * PK11_FindSlotByName). Compared are the tokens of one process: that is what one application sees. */
void rule_tok_01(struct check *check, const struct call *call)
{
  struct model_slot *here = check->place.slot;
  struct model_token token;
  if (!here || !model_token_info(call, &token) || !initialized(&token) || !model_settled(here, call)) return;
  if (!token.labelled) return;
  if (!*token.label) {
    struct finding *f = finding_report(check, SEVERITY_WARNING, 1, "the token is initialised and has an empty label");
    with_serial(f, check, &token);
    return;
  }
  if (called_like_nss(&token)) {
    struct finding *f =
        finding_report(check, SEVERITY_WARNING, 2, "the token is called \"%s\", like NSS's own", token.label);
    with_serial(f, check, &token);
  }
  size_t place = 0;
  for (struct model_module *m; (m = table_next(&check->place.process->modules, &place));) {
    size_t at = 0;
    for (struct model_slot *s; (s = table_next(&m->slots, &at));) {
      if (s == here || !s->token.known || !initialized(&s->token) || strcmp(s->token.label, token.label)) continue;
      if (surely_present(s, call->end) && model_settled(s, call)) same_label(check, &token, s);
    }
  }
}

/* Blanks and the like at either end, beyond the padding; NBSP as UTF-8 or Latin-1. */
static bool is_blank(const char *text, size_t length, bool at_end)
{
  const unsigned char c = (unsigned char)(at_end ? text[length - 1] : text[0]);
  const unsigned char d = length < 2 ? 0 : (unsigned char)(at_end ? text[length - 2] : text[1]);
  if (c == ' ' || (c >= '\t' && c <= '\r')) return true;
  if (at_end) return c == 0xa0 && (d == 0xc2 || d < 0x80);
  return (c == 0xc2 && d == 0xa0) || (c == 0xa0 && d < 0x80);
}

/* FAQ, Q6: "The label for a token certificate is presented to the user as follows: token label:certificate label". NSS
 * splits what the user enters at the first colon (pk11cert.c), takes "pkcs11:" for a URI, and NSS's "Implementing PKCS #11"
 * has quotes around labels with blanks. */
void rule_tok_02(struct check *check, const struct call *call)
{
  struct model_token token;
  if (!check->place.slot || !model_token_info(call, &token) || !initialized(&token) || !*token.label) return;
  const size_t length = strlen(token.label);
  const char *what = !strncmp(token.label, "pkcs11:", 7)    ? "begins with \"pkcs11:\""
                     : strchr(token.label, ':')             ? "has a colon"
                     : strchr(token.label, '"')             ? "has a double quote"
                     : is_blank(token.label, length, false) ? "begins with a blank"
                     : is_blank(token.label, length, true)  ? "ends in a blank that is not padding"
                                                            : NULL;
  if (!what) return;
  char label[140];
  show_bytes((const uint8_t *)token.label, length, label, sizeof label);
  struct finding *f = finding_report(check, SEVERITY_WARNING, pick_hash(token.label, length),
                                     "the label of the token %s: %s", what, label);
  with_serial(f, check, &token);
}

static bool blocks_prompt(const struct model_token *t)
{
  return t->flags & CKF_LOGIN_REQUIRED && !(t->flags & CKF_USER_PIN_INITIALIZED);
}

static const char blocked[] =
    "the token lets the user log in and reports CKF_LOGIN_REQUIRED without CKF_USER_PIN_INITIALIZED";

static void tok_03_info(struct check *check, const struct call *call)
{
  struct model_slot *s = check->place.slot;
  struct model_token token;
  if (!model_token_info(call, &token) || !blocks_prompt(&token)) return;
  const struct note *login = checker_login(check, s, &token);
  if (!login || (s->token.known && strcmp(s->token.serial, token.serial))) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, 0, "%s", blocked);
  if (login->process != check->event->process)
    finding_note(f, login, "in %s[%u]", login->process->program ? login->process->program : "", login->process->pid);
  else
    finding_note(f, login, NULL);
  finding_call(f, check, NULL);
}

static void tok_03_login(struct check *check, const struct call *call)
{
  struct model_slot *s = check->place.slot;
  uint64_t user;
  if (call->rv != CKR_OK || !pick_in(call, 1, &user) || user != CKU_USER) return;
  if (!s->token.known || !blocks_prompt(&s->token)) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, 0, "%s", blocked);
  finding_note(f, &s->token.note, NULL);
  finding_call(f, check, NULL);
}

static void tok_03_objects(struct check *check, const struct call *call)
{
  struct model_slot *s = check->place.slot;
  const struct model_session *session = check->place.session;
  uint64_t is_private = 0;
  if (call->rv != CKR_OK || !s->token.known || !blocks_prompt(&s->token)) return;
  if (call->known == P11_F_C_FindObjects) {
    if (!session || !session->searching || session->search.is_private != TRI_YES || session->search.token != TRI_YES)
      return;
    if (call->arg[1].out.what != VALUE_LIST || !call->arg[1].out.count) return;
  } else {
    const struct model_object *o = check->place.object;
    if (!pick_attribute_number(pick_template(call), CKA_PRIVATE, &is_private) || !is_private) return;
    if (!o || o->facts.token != TRI_YES || o->creator) return;
  }
  struct finding *f = finding_report(check, SEVERITY_ERROR, 0,
                                     "private objects are visible, and the token reports CKF_LOGIN_REQUIRED without "
                                     "CKF_USER_PIN_INITIALIZED");
  finding_note(f, &s->token.note, NULL);
  finding_call(f, check, "a private token object");
}

/* FAQ, Q30: "It goes to SSO mode only if your token identifies itself as CKF_LOGIN_REQUIRED, but not CKF_USER_INITIALIZED".
 * With these flags PK11_DoPassword (pk11auth.c) gives up with SEC_ERROR_IO before it asks anybody. A blank token before
 * C_InitPIN is right to say so: a login or a private object must prove that a PIN exists. */
void rule_tok_03(struct check *check, const struct call *call)
{
  struct model_slot *s = check->place.slot;
  if (!s || !model_settled(s, call) || model_removal(s, call)) return;
  switch (call->known) {
    case P11_F_C_GetTokenInfo: tok_03_info(check, call); break;
    case P11_F_C_Login:
    case P11_F_C_LoginUser: tok_03_login(check, call); break;
    default: tok_03_objects(check, call);
  }
}
