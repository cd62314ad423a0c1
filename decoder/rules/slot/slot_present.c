/* Presence: what C_GetSlotInfo says of a slot holds for the other functions too. */
#include <inttypes.h>

#include "decoder/rules/rules.h"

#define SECOND (uint64_t)1000000000

static bool slot_flags(const struct call *call, uint64_t *flags)
{
  const struct value *v = pick_member(call, 1, P11_S_CK_SLOT_INFO, offsetof(CK_SLOT_INFO, flags));
  if (call->rv != CKR_OK || !v) return false;
  *flags = v->number;
  return true;
}

/* --- NSS-SLOT-03 -------------------------------------------------------------------------------------------------- */

struct presence {
  struct note present; /* last C_GetSlotInfo with CKF_TOKEN_PRESENT */
  struct note first;   /* the first contradiction, and what it contradicts */
  struct note first_present;
  unsigned refused; /* CKR_TOKEN_NOT_RECOGNIZED since the slot was known */
  uint64_t since;
};
static const struct kept_type presence_type = {sizeof(struct presence), NULL};

static void forget_presence(struct presence *p)
{
  p->present = p->first = p->first_present = (struct note){0};
}

/* A card can be pulled between two calls, but not again and again while C_GetSlotInfo reports it; what is not removable
 * cannot at all. */
static void contradiction(struct check *check, const struct call *call, struct presence *p)
{
  const struct model_slot *slot = check->place.slot;
  char unknown[24];
  struct finding *f;
  if (!p->present.number || p->present.end_number > call->number) return;
  if (slot->has_flags && !(slot->flags & CKF_REMOVABLE_DEVICE)) {
    f = finding_report(check, SEVERITY_WARNING, 1, "C_GetSlotInfo reports a token, and %s fails with %s",
                       call->info->name, note_rv(call->rv, unknown));
    finding_note(f, &p->present, "not removable");
    finding_call(f, check, NULL);
    return;
  }
  if (call->start > p->present.end + SECOND) return;
  if (p->first.number) {
    f = finding_report(check, SEVERITY_WARNING, 1,
                       "C_GetSlotInfo reports a token, and %s fails with %s, again and again", call->info->name,
                       note_rv(call->rv, unknown));
    finding_note(f, &p->first_present, NULL);
    finding_note(f, &p->first, NULL);
    finding_note(f, &p->present, NULL);
    finding_call(f, check, NULL);
  } else {
    p->first_present = p->present;
    model_note(&check->place, &p->first, call);
  }
  p->present = (struct note){0}; /* it must be said again */
}

static void not_recognized(struct check *check, const struct call *call, struct presence *p)
{
  if (!p->present.number || p->present.end_number > call->number) return;
  if (!p->refused++) p->since = call->start;
  struct finding *f = finding_report(check, SEVERITY_INFO, 2,
                                     "the token in the slot is not recognised: NSS looks again at each look-up");
  finding_note(f, &p->present, NULL);
  finding_call(f, check, NULL);
  const uint64_t seconds = (call->end - p->since) / SECOND;
  if (p->refused > 1)
    finding_say(check, 2,
                "the token in the slot is not recognised: NSS looks again at each look-up, %u times in %" PRIu64 " s",
                p->refused, seconds);
}

/* FAQ, Q16: NSS polls "whether the card is still in the slot". A slot that reports a token which cannot be used is
 * looked at anew in each look-up (devslot.c, nssSlot_IsTokenPresent; pk11slot.c, PK11_InitToken). A card that was just
 * pulled gives one contradiction, not two in a row. */
void rule_slot_03(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  uint64_t flags;
  if (!slot) return;
  if (call->known == P11_F_C_GetSlotInfo) {
    if (!slot_flags(call, &flags)) return;
    struct presence *p = kept_make(&slot->kept, &presence_type);
    if (flags & CKF_TOKEN_PRESENT)
      model_note(&check->place, &p->present, call);
    else
      forget_presence(p);
    return;
  }
  struct presence *p = kept_get(slot->kept, &presence_type);
  if (!p) return;
  if (call->known == P11_F_C_OpenSession && pick_in(call, 1, &flags) && flags & CKF_RW_SESSION) return;
  switch (call->rv) {
    case CKR_OK:
      if (p->first.known == call->known) p->first = p->first_present = (struct note){0};
      return;
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_DEVICE_REMOVED: contradiction(check, call, p); return;
    case CKR_TOKEN_NOT_RECOGNIZED: not_recognized(check, call, p); return;
    default: return;
  }
}

/* --- NSS-SLOT-04 -------------------------------------------------------------------------------------------------- */

struct permanence {
  struct note first; /* the first C_GetSlotInfo */
  uint64_t flags;
  struct note opened, lost; /* a session that is not valid any more: NSS-SLOT-07 unless no other can be opened */
};
static const struct kept_type permanence_type = {sizeof(struct permanence), NULL};

static void flags_seen(struct check *check, const struct call *call, struct model_slot *slot)
{
  struct permanence *p = kept_make(&slot->kept, &permanence_type);
  uint64_t flags;
  if (!slot_flags(call, &flags)) return;
  struct finding *f;
  if (p->first.number && (p->flags ^ flags) & CKF_REMOVABLE_DEVICE) {
    f = finding_report(check, SEVERITY_ERROR, 1, "CKF_REMOVABLE_DEVICE of the slot was %s, and is %s now",
                       p->flags & CKF_REMOVABLE_DEVICE ? "set" : "clear",
                       flags & CKF_REMOVABLE_DEVICE ? "set" : "clear");
    finding_note(f, &p->first, NULL);
    finding_call(f, check, NULL);
  } else if (!(flags & (CKF_REMOVABLE_DEVICE | CKF_TOKEN_PRESENT))) {
    f = finding_report(check, SEVERITY_ERROR, 2, "the slot has neither CKF_REMOVABLE_DEVICE nor CKF_TOKEN_PRESENT");
    finding_call(f, check, NULL);
  }
  if (p->first.number) return;
  model_note(&check->place, &p->first, call);
  p->flags = flags;
}

static void died(struct check *check, struct model_slot *slot, struct permanence *p, const struct call *call)
{
  const struct finding_options o = {.cause = CAUSE_DEAD_SESSION, .slot = slot};
  char unknown[24];
  struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, 3,
                                        "the token of a slot that is not removable is gone: %s fails with %s",
                                        call->info->name, note_rv(call->rv, unknown));
  finding_note(f, &p->first, NULL);
  finding_note(f, &p->opened, NULL);
  finding_note(f, &p->lost, NULL);
  finding_call(f, check, NULL);
  finding_hint(f, "another process may have initialised the token anew");
  p->lost = (struct note){0};
}

static bool names_absence(uint64_t rv)
{
  return rv == CKR_DEVICE_REMOVED || rv == CKR_TOKEN_NOT_PRESENT;
}

/* Nobody closes the session while the call runs: it was opened in this trace, and is used by this thread alone. */
static bool sure_of(const struct model_session *s, const struct call *call)
{
  return s && s->opened.number && s->opened.end_number < call->number && !s->in_flight && model_settled(s->slot, call);
}

static void of_permanent_slot(struct check *check, const struct call *call, struct model_slot *slot,
                              struct permanence *p)
{
  const struct model_session *s = check->place.session;
  if (call->known == P11_F_C_OpenSession) {
    if (call->rv == CKR_OK)
      p->lost = (struct note){0};
    else if (p->lost.number && (names_absence(call->rv) || call->rv == CKR_DEVICE_ERROR))
      died(check, slot, p, call);
    return;
  }
  if (!sure_of(s, call)) return;
  if (names_absence(call->rv)) {
    p->opened = s->opened;
    p->lost = (struct note){0};
    died(check, slot, p, call);
  } else if (call->rv == CKR_SESSION_HANDLE_INVALID || call->rv == CKR_SESSION_CLOSED) {
    p->opened = s->opened;
    model_note(&check->place, &p->lost, call);
  }
}

/* The standard, CK_SLOT_INFO: "For a given slot, the value of the CKF_REMOVABLE_DEVICE flag never changes. In
 * addition, if this flag is not set for a given slot, then the CKF_TOKEN_PRESENT flag for that slot is always set."
 * NSS disables such a slot for good when it is not (pk11slot.c, PK11_InitSlot), and never looks at it again when it
 * is (devslot.c). */
void rule_slot_04(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (!slot) return;
  if (call->known == P11_F_C_GetSlotInfo) {
    flags_seen(check, call, slot);
    return;
  }
  if (call->rv == CKR_OK && call->known != P11_F_C_OpenSession) return;
  struct permanence *p = kept_get(slot->kept, &permanence_type);
  if (p && p->first.number && !(p->flags & CKF_REMOVABLE_DEVICE)) of_permanent_slot(check, call, slot, p);
}
