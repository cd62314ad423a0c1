/* Flags of the token that must follow what happens: CKF_LOGIN_REQUIRED, CKF_USER_PIN_INITIALIZED, the PIN counters. */
#include <inttypes.h>

#include "decoder/model/search.h"
#include "decoder/rules/rules.h"

/* --- NSS-TOK-04 --------------------------------------------------------------------------------------------------- */

enum { SEARCHES = 8 };

/* Of a slot: what searches found while nobody was logged in; a ring. */
struct searches {
  struct {
    uint64_t key, results;
    struct note note;
  } of[SEARCHES];
  unsigned next;
};
static const struct kept_type searches_type = {sizeof(struct searches), NULL};

static const char no_login[] = "the token reports that no login is required (CKF_LOGIN_REQUIRED is clear), and ";

static void refused(struct check *check, const struct call *call, struct model_slot *slot)
{
  switch (call->known) {
    case P11_F_C_Logout:
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
    case P11_F_C_InitPIN:
    case P11_F_C_SetPIN: return; /* of the login itself */
    case P11_F_C_CreateObject:
    case P11_F_C_CopyObject:
    case P11_F_C_SetAttributeValue:
    case P11_F_C_DestroyObject:
      if (model_logged_in(slot)) return; /* CKA_TRUSTED and the like are the SO's */
      break;
    default: break;
  }
  const struct finding_options o = {.cause = CAUSE_NOT_LOGGED_IN};
  struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, 0, "%s%s answers CKR_USER_NOT_LOGGED_IN", no_login,
                                        p11_functions[call->known].name);
  finding_note(f, &slot->token.note, NULL);
  finding_call(f, check, NULL);
}

/* The same search before a login and after it. */
static void searched(struct check *check, const struct call *call, struct model_slot *slot)
{
  const struct model_search *s = check->place.session ? model_search(check->place.session) : NULL;
  if (!s || !s->active || !s->key || !s->complete || s->failed || call->rv != CKR_OK) return;
  if (!model_login_still(slot, s->begun)) return;
  if (model_logged_out(slot)) {
    struct searches *all = kept_make(&slot->kept, &searches_type);
    unsigned i = 0;
    while (i < SEARCHES && all->of[i].key != s->key) i++;
    if (i == SEARCHES) i = all->next++ % SEARCHES;
    all->of[i].key = s->key;
    all->of[i].results = s->results;
    all->of[i].note = s->last;
    return;
  }
  const struct searches *all = kept_get(slot->kept, &searches_type);
  if (!all || !model_logged_in(slot)) return;
  for (unsigned i = 0; i < SEARCHES; i++) {
    if (all->of[i].key != s->key || all->of[i].results >= s->results) continue;
    if (!model_objects_still(check->place.module, all->of[i].note.number)) return;
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, 0, "%sC_Login makes objects visible that were not before", no_login);
    finding_note(f, &slot->token.note, NULL);
    finding_note(f, &all->of[i].note, "%" PRIu64 " in all", all->of[i].results);
    finding_note(f, &slot->last.login, NULL);
    finding_note(f, &s->last, "%" PRIu64 " in all", s->results);
    return;
  }
}

/* The standard: "CKF_LOGIN_REQUIRED: True if there are some cryptographic functions that a user MUST be logged in to
 * perform". Without it NSS never logs in (pk11slot.c, PK11_InitToken: needLogin). A token without a PIN is right to have it
 * clear, and may have private objects all the same: softoken without a password. */
void rule_tok_04(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (call->rv != CKR_USER_NOT_LOGGED_IN && call->known != P11_F_C_FindObjectsFinal) return;
  if (!slot || !slot->token.known || slot->token.flags & CKF_LOGIN_REQUIRED) return;
  /* The flag may have come with the first PIN. */
  if (slot->last.pin.number > slot->token.note.number) return;
  if (!(slot->token.flags & CKF_TOKEN_INITIALIZED) || !model_settled(slot, call) || model_removal(slot, call)) return;
  if (call->rv == CKR_USER_NOT_LOGGED_IN)
    refused(check, call, slot);
  else
    searched(check, call, slot);
}

/* --- NSS-TOK-05 --------------------------------------------------------------------------------------------------- */

#define CACHED 100000000ull /* ns: another thread may have asked before */

/* Of a slot: what the next C_GetTokenInfo must show. */
struct expected {
  struct note call, before; /* before: the flags as they were */
};
static const struct kept_type expected_type = {sizeof(struct expected), NULL};

static void expect(struct check *check, const struct call *call, struct model_slot *slot)
{
  struct expected *e = kept_make(&slot->kept, &expected_type);
  *e = (struct expected){.before = slot->token.known ? slot->token.note : (struct note){0}};
  if (model_settled(slot, call)) model_note(&check->place, &e->call, call);
}

static void unlocked(struct check *check, const struct call *call, struct model_slot *slot)
{
  if (!slot->token.known || !(slot->token.flags & CKF_USER_PIN_LOCKED)) return;
  if (slot->last.pin.number > slot->token.note.number || !model_settled(slot, call)) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, 4, "C_Login succeeds while CKF_USER_PIN_LOCKED is set");
  finding_note(f, &slot->token.note, NULL);
  finding_call(f, check, NULL);
}

static const char *wrong(int after, uint64_t flags)
{
  if (after == P11_F_C_InitPIN)
    return flags & CKF_USER_PIN_INITIALIZED ? NULL : "CKF_USER_PIN_INITIALIZED is clear after C_InitPIN";
  if (after == P11_F_C_InitToken)
    return !(flags & CKF_TOKEN_INITIALIZED)   ? "CKF_TOKEN_INITIALIZED is clear after C_InitToken"
           : flags & CKF_USER_PIN_INITIALIZED ? "CKF_USER_PIN_INITIALIZED is set after C_InitToken"
                                              : NULL;
  return flags & CKF_USER_PIN_LOCKED      ? "CKF_USER_PIN_LOCKED is set after the user has logged in"
         : flags & CKF_USER_PIN_FINAL_TRY ? "CKF_USER_PIN_FINAL_TRY is set after the user has logged in"
         : flags & CKF_USER_PIN_COUNT_LOW ? "CKF_USER_PIN_COUNT_LOW is set after the user has logged in"
                                          : NULL;
}

static void shown(struct check *check, const struct call *call, struct model_slot *slot)
{
  struct expected *e = kept_get(slot->kept, &expected_type);
  struct model_token now;
  if (!e || !e->call.number || call->number < e->call.end_number || !model_token_info(call, &now)) return;
  if (call->tid != e->call.tid && call->start < e->call.end + CACHED) return;
  const struct expected was = *e;
  *e = (struct expected){0};
  if (!model_settled(slot, call) || model_removal(slot, call)) return;
  const char *what = wrong(was.call.known, now.flags);
  if (!what) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, pick_hash(&was.call.known, sizeof was.call.known), "%s", what);
  finding_note(f, &was.before, NULL);
  finding_note(f, &was.call, NULL);
  finding_call(f, check, NULL);
  if (was.call.known != P11_F_C_InitToken && was.call.known != P11_F_C_InitPIN)
    finding_hint(f, "another program may have tried a wrong PIN in between");
}

/* The standard, token flags: "True if the normal user's PIN has been initialized"; CKF_USER_PIN_COUNT_LOW is true "if an
 * incorrect user login PIN has been entered at least once since the last successful authentication". NSS reads the token
 * again after C_InitPIN and C_SetPIN (pk11auth.c), and believes what it reads. */
void rule_tok_05(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  uint64_t user;
  if (!slot) return;
  if (call->known == P11_F_C_GetTokenInfo) {
    shown(check, call, slot);
    return;
  }
  if (call->rv != CKR_OK) return;
  if (call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser) {
    if (!pick_in(call, 1, &user) || user != CKU_USER) return;
    unlocked(check, call, slot);
    /* What was expected before it is not any more: the PIN is there, and was right. */
    const struct expected *e = kept_get(slot->kept, &expected_type);
    if (e && e->call.known == P11_F_C_InitPIN && e->call.number) return;
  }
  expect(check, call, slot);
}
