/* A token that was removed: its sessions are gone, and stay gone. */
#include <inttypes.h>
#include <string.h>

#include "decoder/rules/rules.h"

#define SECOND (uint64_t)1000000000

/* Was the session opened before that, and was that over before the call began? */
static bool from_before(const struct model_session *s, const struct note *event, const struct call *call)
{
  return s->opened.number && event->number && s->opened.end_number < event->number && event->end_number < call->number;
}

/* What the other rules would say of the same answer. */
static enum cause cause_of(const struct call *call)
{
  if (call->rv == CKR_USER_NOT_LOGGED_IN) return CAUSE_NOT_LOGGED_IN;
  if (call->rv == CKR_OBJECT_HANDLE_INVALID || call->rv == CKR_KEY_HANDLE_INVALID) return CAUSE_DEAD_OBJECT;
  const struct value *v = call->known == P11_F_C_GetSessionInfo
                              ? pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state))
                              : NULL;
  return v && model_state_class(v->number) == LOGIN_PUBLIC ? CAUSE_PUBLIC : CAUSE_DEAD_SESSION;
}

/* An answer that only a session which is alive can give. NSS closes the session itself. */
static bool is_alive(const struct call *call)
{
  if (call->known == P11_F_C_CloseSession) return false;
  return call->rv == CKR_OK || call->rv == CKR_USER_NOT_LOGGED_IN || call->rv == CKR_OBJECT_HANDLE_INVALID ||
         call->rv == CKR_KEY_HANDLE_INVALID;
}

/* --- NSS-SLOT-05 -------------------------------------------------------------------------------------------------- */

/* The NSS module author's guide: "If a token has been removed during a session, C_GetSessionInfo should return either
 * CKR_SESSION_CLOSED or CKR_SESSION_HANDLE_INVALID." A module that says itself that the slot is empty knows; where a
 * single call failed as if the card was gone, it may take a second to look. */
void rule_slot_05(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  if (!s || !s->slot->absent || !is_alive(call)) return;
  const struct note *gone = &s->slot->gone;
  if (!from_before(s, gone, call)) return;
  if (gone->known != P11_F_C_GetSlotInfo && call->start < gone->end + SECOND) return;
  const struct finding_options o = {.cause = cause_of(call)};
  char unknown[24];
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_ERROR, 0,
                        "the token was removed, and a session that was opened before goes on: %s returns %s",
                        call->info->name, note_rv(call->rv, unknown));
  finding_note(f, &s->opened, NULL);
  finding_note(f, gone, "the token is not there");
  finding_call(f, check, NULL);
}

/* --- NSS-SLOT-06 -------------------------------------------------------------------------------------------------- */

struct exchange {
  char serial[17]; /* of the token before */
  struct note before, after;
};
static const struct kept_type exchange_type = {sizeof(struct exchange), NULL};

/* Another serial number where no removal was reported. A token that was initialised is another as well, and blank ones
 * have none. */
static void token_seen(struct check *check, const struct call *call, struct model_slot *slot)
{
  struct model_token now;
  if (!slot->token.known || !model_token_info(call, &now) || !strcmp(slot->token.serial, now.serial)) return;
  if (!*slot->token.serial || !*now.serial || !(now.flags & CKF_TOKEN_INITIALIZED)) return;
  if (!(slot->token.flags & CKF_TOKEN_INITIALIZED) || slot->last.all.number > slot->token.note.number) return;
  if (!model_settled(slot, call)) return;
  struct exchange *x = kept_make(&slot->kept, &exchange_type);
  memcpy(x->serial, slot->token.serial, sizeof x->serial);
  x->before = slot->token.note;
  model_note(&check->place, &x->after, call);
}

static void exchanged(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct exchange *x = kept_get(s->slot->kept, &exchange_type);
  if (!x || !from_before(s, &x->after, call)) return;
  const struct finding_options o = {.cause = cause_of(call)};
  struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, 2,
                                        "another token is in the slot, and a session of the one before goes on");
  finding_note(f, &s->opened, NULL);
  finding_note(f, &x->before, "serial number \"%s\"", x->serial);
  finding_note(f, &x->after, "another serial number");
  finding_call(f, check, NULL);
  finding_hint(f, "another process may have initialised the token anew");
}

static void handed_out_again(struct check *check, const struct call *call)
{
  uint64_t handle;
  if (call->rv != CKR_OK || !pick_out(call, 4, &handle)) return;
  const struct model_session *old = model_session(check->place.module, handle);
  if (!old || old->in_flight || !from_before(old, &old->slot->gone, call)) return;
  struct finding *f =
      finding_report(check, SEVERITY_INFO, 3,
                     "after a removal a new session gets the handle of an old one that the application has not closed");
  finding_note(f, &old->opened, NULL);
  finding_note(f, &old->slot->gone, "the token is not there");
  finding_call(f, check, NULL);
}

/* The NSS module author's guide: "If a token has been removed and then the same or another token is inserted,
 * C_GetSessionInfo should return CKR_SESSION_HANDLE_INVALID." It is all by which NSS sees that the card was changed
 * (devslot.c, nssSlot_IsTokenPresent). That the number of a handle comes again is told as an information only. */
void rule_slot_06(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  struct model_slot *slot = check->place.slot;
  if (call->known == P11_F_C_GetTokenInfo) {
    if (slot) token_seen(check, call, slot);
    return;
  }
  if (call->known == P11_F_C_OpenSession) {
    if (slot && slot->gone.number) handed_out_again(check, call);
    return;
  }
  if (!s || !is_alive(call)) return;
  if (s->slot->back.number && !s->slot->absent && from_before(s, &s->slot->gone, call) &&
      s->slot->back.end_number < call->number) {
    const struct finding_options o = {.cause = cause_of(call)};
    char unknown[24];
    struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, 1,
                                          "the token was removed and is back, and a session from before goes on: %s "
                                          "returns %s",
                                          call->info->name, note_rv(call->rv, unknown));
    finding_note(f, &s->opened, NULL);
    finding_note(f, &s->slot->gone, "the token is not there");
    finding_note(f, &s->slot->back, "it is back");
    finding_call(f, check, NULL);
    return;
  }
  exchanged(check, call, s);
}

/* --- NSS-SLOT-07 -------------------------------------------------------------------------------------------------- */

struct loss {
  struct note opened, lost;
  uint64_t handle, answered; /* ns: when the session last worked */
  char serial[17];
};
static const struct kept_type loss_type = {sizeof(struct loss), NULL};

static bool finds_it_dead(const struct call *call)
{
  switch (call->rv) {
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED: return true;
    case CKR_DEVICE_ERROR:
      return call->known == P11_F_C_GetSessionInfo; /* of others: the card's fault, not the session's */
    default: return false;
  }
}

static bool is_removable(const struct model_slot *slot)
{
  return !slot->has_flags || slot->flags & CKF_REMOVABLE_DEVICE;
}

/* `call`: what shows that the token is there, NULL where the slot is not removable and no session was asked for. */
static void lost_for_no_reason(struct check *check, const struct call *call, struct model_slot *slot, struct loss *l)
{
  const uint64_t pause = l->lost.start > l->answered ? l->lost.start - l->answered : 0;
  /* Pulled and put back between two looks: that looks the same. */
  const enum severity severity = is_removable(slot) && pause > SECOND ? SEVERITY_WARNING : SEVERITY_ERROR;
  const struct finding_options o = {.cause = CAUSE_DEAD_SESSION, .slot = slot};
  char unknown[24];
  struct finding *f = finding_report_as(check, &o, severity, 0, "a session is lost for no reason: %s fails with %s%s",
                                        p11_functions[l->lost.known].name, note_rv(l->lost.rv, unknown),
                                        call ? ", and the token is there" : "");
  finding_note(f, &l->opened, NULL);
  finding_note(f, &l->lost, "the session was neither closed nor removed");
  if (call) finding_call(f, check, "another session can be opened");
  if (is_removable(slot))
    finding_hint(f,
                 "a card that was pulled and put back between two calls looks the same; the session last answered "
                 "%" PRIu64 ".%03" PRIu64 " s before",
                 pause / SECOND, pause % SECOND / 1000000);
  else
    finding_hint(f, "another process may have initialised the token anew");
  l->lost = (struct note){0};
}

static void asked_for_another(struct check *check, const struct call *call, struct model_slot *slot, struct loss *l)
{
  const bool in_time = call->start <= l->lost.end + 2 * SECOND || !is_removable(slot);
  const bool same = !slot->token.known || !*l->serial || !strcmp(l->serial, slot->token.serial);
  if (l->lost.end_number > call->number) return;
  const bool removed = slot->absent || (slot->removal && l->lost.start < slot->removal + SECOND);
  /* A call that has not returned yet may have found the slot empty. */
  const bool open_question = is_removable(slot) && slot->looking;
  if (call->rv == CKR_OK && in_time && same && !removed && !open_question) lost_for_no_reason(check, call, slot, l);
  l->lost = (struct note){0}; /* else NSS-SLOT-04, if anything */
}

static void at_the_end(struct check *check)
{
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&check->place.module->slots, &at));) {
    struct loss *l = kept_get(s->kept, &loss_type);
    if (l && l->lost.number && !is_removable(s)) lost_for_no_reason(check, NULL, s, l);
  }
}

/* FAQ, Q10: "You must update all sessions correctly when the state changes." A card that somebody logged out changes
 * the state that C_GetSessionInfo reports, not the handle. For NSS a session that is gone is another card (devslot.c;
 * ssl3con.c): connections end with SSL_ERROR_TOKEN_INSERTION_REMOVAL. */
void rule_slot_07(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  struct model_slot *slot = check->place.slot;
  if (!call || call->known == P11_F_C_Finalize) {
    at_the_end(check);
    return;
  }
  if (call->known == P11_F_C_OpenSession) {
    struct loss *l = slot ? kept_get(slot->kept, &loss_type) : NULL;
    if (l && l->lost.number) asked_for_another(check, call, slot, l);
    return;
  }
  if (call->rv == CKR_OK || !s || !finds_it_dead(call) || model_doubtful(s)) return;
  if (!s->opened.number || s->opened.end_number > call->number || s->in_flight) return;
  if (slot->absent || !model_settled(slot, call) || model_removal(slot, call)) return;
  if (slot->gone.end_number > s->opened.number) return; /* a card of before */
  if (finding_explained(check, CAUSE_DEAD_SESSION)) return;
  struct loss *l = kept_make(&slot->kept, &loss_type);
  if (l->lost.number) return;
  l->opened = s->opened;
  model_note(&check->place, &l->lost, call);
  l->handle = s->handle;
  l->answered = s->answered > s->opened.end ? s->answered : s->opened.end;
  memcpy(l->serial, slot->token.known ? slot->token.serial : "", slot->token.known ? sizeof l->serial : 1);
}
