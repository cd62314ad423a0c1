/* What the entries of a function list are: all there, and honest when they do nothing. */
#include <stdio.h>
#include <string.h>

#include "decoder/rules/rules.h"

#define BUSY_LOOP 5 /* NSS-SLOT-08 speaks from so many C_WaitForSlotEvent on */

static const struct finding_options whole = {.no_slot = true};

struct tally {
  uint32_t failed;  /* calls with that code; UINT32_MAX: it has answered something else */
  struct note note; /* the first */
  struct note last;
};
struct functions {
  bool missing; /* a list was handed out that has holes; told when the call is over that handed it out */
  uint64_t holes;
  uint16_t version;
  char names[200];
  struct tally tally[P11_FUNCTIONS];
};
static const struct kept_type functions_type = {sizeof(struct functions), NULL};

/* --- (a) holes in a list ------------------------------------------------------------------------------------------ */

static void list_given(struct check *check)
{
  const struct event *e = check->event;
  struct functions *s = NULL;
  size_t used = 0;
  for (unsigned i = 0; i < e->list.count && i < P11_FUNCTIONS && i / 8 < e->list.null_bytes; i++) {
    if (!(e->list.nulls[i / 8] >> i % 8 & 1)) continue;
    if (!s) {
      s = kept_make(&check->place.module->kept, &functions_type);
      s->missing = true;
      s->version = e->list.version;
      s->holes = 0;
      *s->names = 0;
    }
    note_append(s->names, sizeof s->names, &used, "%s%s", s->holes ? ", " : "", p11_functions[i].name);
    s->holes++;
  }
}

static void tell_holes(struct check *check, struct functions *s)
{
  s->missing = false;
  struct finding *f = finding_report_as(check, &whole, SEVERITY_ERROR, (uint64_t)1 << 32 | s->version,
                                        "the function list of version %u.%u has no entry for %s", s->version >> 8u,
                                        s->version & 255u, s->names);
  finding_call(f, check, NULL);
  finding_hint_proxy(f, check);
}

/* --- (b) functions that never work -------------------------------------------------------------------------------- */

/* Those that a token may well do without, and whose failure says nothing of the card or of what the user did. */
static bool may_be_missing(int function)
{
  switch (function) {
    case P11_F_C_WaitForSlotEvent:
    case P11_F_C_InitToken:
    case P11_F_C_InitPIN:
    case P11_F_C_SetPIN:
    case P11_F_C_GetOperationState:
    case P11_F_C_SetOperationState:
    case P11_F_C_CopyObject:
    case P11_F_C_GetObjectSize:
    case P11_F_C_DigestKey:
    case P11_F_C_SignRecoverInit:
    case P11_F_C_VerifyRecoverInit:
    case P11_F_C_DigestEncryptUpdate:
    case P11_F_C_DecryptDigestUpdate:
    case P11_F_C_SignEncryptUpdate:
    case P11_F_C_DecryptVerifyUpdate:
    case P11_F_C_SeedRandom:
    case P11_F_C_LoginUser:
    case P11_F_C_SessionCancel:
    case P11_F_C_MessageSignInit:
    case P11_F_C_MessageVerifyInit:
    case P11_F_C_GetSessionValidationFlags: return true;
    default: return false;
  }
}

static bool looks_unsupported(uint64_t rv)
{
  return rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED || rv == CKR_DEVICE_ERROR;
}

static void count(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  if (check->place.slot && model_removal(check->place.slot, call)) return; /* a dead device looks the same */
  struct functions *s =
      looks_unsupported(call->rv) ? kept_make(&m->kept, &functions_type) : kept_get(m->kept, &functions_type);
  struct tally *t = s ? &s->tally[call->known] : NULL;
  if (!t || t->failed == UINT32_MAX) return;
  if (!looks_unsupported(call->rv) || (t->failed && t->note.rv != call->rv)) {
    t->failed = UINT32_MAX;
    return;
  }
  if (!t->failed) model_note(&check->place, &t->note, call);
  if (t->failed < UINT32_MAX - 1) t->failed++;
  model_note(&check->place, &t->last, call);
}

static void tell_failures(struct check *check, struct functions *s)
{
  char unknown[24];
  for (int i = 0; i < P11_FUNCTIONS; i++) {
    struct tally *t = &s->tally[i];
    if (t->failed < 2 || t->failed == UINT32_MAX) continue;
    if (i == P11_F_C_WaitForSlotEvent && t->failed >= BUSY_LOOP) continue;
    struct finding *f =
        finding_report_as(check, &whole, SEVERITY_WARNING, (uint64_t)2 << 32 | (uint64_t)i,
                          "%s answers every call with %s: it looks unsupported, and the code for that is "
                          "CKR_FUNCTION_NOT_SUPPORTED",
                          p11_functions[i].name, note_rv(t->note.rv, unknown));
    finding_note(f, &t->note, NULL);
    finding_note(f, &t->last, NULL);
  }
  memset(s->tally, 0, sizeof s->tally);
}

/* --- (c) functions that NSS cannot do without --------------------------------------------------------------------- */

static bool signs(const struct model_slot *slot)
{
  size_t at = 0;
  for (struct model_mechanism *m; (m = table_next(&slot->mechanisms, &at));)
    if (m->listed && m->known && m->flags & CKF_SIGN) return true;
  return false;
}

static bool is_basic(const struct check *check, int function)
{
  const struct model_slot *slot = check->place.slot;
  switch (function) {
    case P11_F_C_OpenSession:
    case P11_F_C_CloseSession:
    case P11_F_C_GetSessionInfo:
    case P11_F_C_FindObjectsInit:
    case P11_F_C_FindObjects:
    case P11_F_C_FindObjectsFinal:
    case P11_F_C_GetAttributeValue:
    case P11_F_C_GetSlotList:
    case P11_F_C_GetSlotInfo:
    case P11_F_C_GetTokenInfo:
    case P11_F_C_GetMechanismList:
    case P11_F_C_GetMechanismInfo: return true;
    case P11_F_C_Login:
    case P11_F_C_Logout: return slot && slot->token.known && slot->token.flags & CKF_LOGIN_REQUIRED;
    case P11_F_C_SignInit:
    case P11_F_C_Sign: return slot && signs(slot); /* a token with certificates only need not */
    default: return false;
  }
}

/* FAQ, Q8: "If you do not actually do the operation specified by that function, you can return
 * CKR_FUNCTION_NOT_SUPPORTED." NSS's fallbacks are keyed on exactly that code (pk11util.c, SECMOD_WaitForAnyTokenEvent:
 * polling). */
void rule_init_08(struct check *check, const struct call *call)
{
  if (!call && check->event->type == EVENT_LIST) {
    list_given(check);
    return;
  }
  struct functions *s;
  if (!call) {
    if ((s = kept_get(check->place.module->kept, &functions_type))) {
      if (s->missing) tell_holes(check, s);
      tell_failures(check, s);
    }
    return;
  }
  if (call->rv == CKR_FUNCTION_NOT_SUPPORTED && is_basic(check, call->known)) {
    struct finding *f =
        finding_report_as(check, &whole, SEVERITY_ERROR, (uint64_t)3 << 32 | (uint64_t)call->known,
                          "%s, which NSS cannot do without, answers CKR_FUNCTION_NOT_SUPPORTED", call->info->name);
    finding_call(f, check, NULL);
    finding_hint_proxy(f, check);
    return;
  }
  switch (call->known) {
    case P11_F_C_GetFunctionList:
    case P11_F_C_GetInterface:
    case P11_F_C_GetInterfaceList:
      if ((s = kept_get(check->place.module->kept, &functions_type)) && s->missing) tell_holes(check, s);
      return;
    default:
      if (may_be_missing(call->known)) count(check, call);
  }
}
