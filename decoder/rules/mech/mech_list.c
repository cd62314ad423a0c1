/* What a slot lists, and what it says of each mechanism. */
#include <inttypes.h>

#include "decoder/rules/mech/mech_help.h"

struct lists {
  struct note asked; /* the last C_GetMechanismList with a NULL buffer that succeeded */
  uint64_t count;    /* what it said */
  struct note list;  /* the last complete list */
  uint64_t hash, length;
  unsigned generation; /* of the token */
};
static const struct kept_type lists_type = {sizeof(struct lists), NULL};

enum { KEY_FAILS = 1, KEY_GROWS, KEY_DIFFERS, KEY_NO_INFO, KEY_UNLISTED, KEY_SIZES };

/* The standard, C_GetMechanismList: "If that buffer is large enough to hold the list of mechanisms, then the list is
 * returned in it, and CKR_OK is returned." NSS takes a failure of this second call for an empty list, and says nothing
 * (pk11slot.c, PK11_ReadMechanismList). */
static void second_call(struct check *check, const struct call *call, const struct lists *l)
{
  uint64_t room;
  char code[24];
  if (!pick_in(call, 2, &room) || room < l->count || !l->asked.number || l->asked.tid != call->tid) return;
  const bool grows = call->rv == CKR_BUFFER_TOO_SMALL;
  struct finding *f =
      grows ? finding_report(check, SEVERITY_ERROR, KEY_GROWS,
                             "C_GetMechanismList announces %" PRIu64
                             " mechanisms, and then has no room for them in %" PRIu64,
                             l->count, room)
            : finding_report(
                  check, SEVERITY_ERROR, KEY_FAILS,
                  "C_GetMechanismList tells how many mechanisms there are, and fails with %s when asked for them",
                  note_rv(call->rv, code));
  finding_note(f, &l->asked, NULL);
  finding_call(f, check, NULL);
}

/* Has a login, a logout or an initialisation come between, which may change what a token can do? */
static bool login_between(const struct model_slot *slot, const struct call *call, uint64_t since)
{
  return !model_settled(slot, call) || slot->changed > since || slot->module->changed > since;
}

static void complete(struct check *check, const struct call *call, struct lists *l)
{
  const struct model_slot *slot = check->place.slot;
  const struct value *list = &call->arg[1].out;
  uint64_t count, hash = 0;
  if (list->what != VALUE_LIST || !pick_out(call, 2, &count) || list->count != count) return;
  for (size_t i = 0; i < list->count; i++) hash += pick_hash(&list->item[i].number, sizeof list->item[i].number);
  if (l->list.number && l->generation == slot->generation && (l->hash != hash || l->length != count)) {
    const bool login = login_between(slot, call, l->list.number);
    struct finding *f =
        finding_report(check, login ? SEVERITY_WARNING : SEVERITY_ERROR, KEY_DIFFERS,
                       login ? "the list of mechanisms depends on the login: %" PRIu64 " of them, then %" PRIu64
                             : "the list of mechanisms changes by itself: %" PRIu64 " of them, then %" PRIu64,
                       l->length, count);
    finding_note(f, &l->list, NULL);
    finding_call(f, check, NULL);
  }
  model_note(&check->place, &l->list, call);
  l->hash = hash;
  l->length = count;
  l->generation = slot->generation;
}

static void list_call(struct check *check, const struct call *call)
{
  struct lists *l = kept_make(&check->place.slot->kept, &lists_type);
  uint64_t count;
  if (pick_is_null(call, 1)) {
    l->asked = (struct note){0};
    if (call->rv != CKR_OK || !pick_out(call, 2, &count)) return;
    model_note(&check->place, &l->asked, call);
    l->count = count;
  } else if (call->rv == CKR_OK) {
    complete(check, call, l);
  } else if (!mech_elsewhere(call->rv)) {
    second_call(check, call, l);
  }
}

static bool uses_keys(uint64_t flags)
{
  return flags & (CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN | CKF_VERIFY | CKF_GENERATE | CKF_GENERATE_KEY_PAIR | CKF_WRAP |
                  CKF_UNWRAP | CKF_DERIVE);
}

static uint64_t member(const struct call *call, size_t offset)
{
  const struct value *v = pick_member(call, 2, P11_S_CK_MECHANISM_INFO, offset);
  return v ? v->number : 0;
}

static void sizes(struct check *check, const struct call *call, uint64_t type)
{
  const uint64_t least = member(call, offsetof(CK_MECHANISM_INFO, ulMinKeySize));
  const uint64_t most = member(call, offsetof(CK_MECHANISM_INFO, ulMaxKeySize));
  char name[24];
  if (least <= most || least == UINT64_MAX || !uses_keys(member(call, offsetof(CK_MECHANISM_INFO, flags)))) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, KEY_SIZES,
                                     "C_GetMechanismInfo says that the smallest key is larger than the largest (%s)",
                                     mech_name(type, name));
  finding_call(f, check, "ulMinKeySize = %" PRIu64 ", ulMaxKeySize = %" PRIu64, least, most);
}

static void info_call(struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  const struct lists *l = kept_get(slot->kept, &lists_type);
  uint64_t type;
  char name[24];
  if (!pick_in(call, 1, &type)) return;
  if (call->rv == CKR_OK) sizes(check, call, type);
  if (!l || !l->list.number || l->generation != slot->generation || !slot->mechanisms_listed) return;
  const struct model_mechanism *m = model_mechanism(slot, type);
  const bool listed = m && m->listed;
  struct finding *f = NULL;
  if (listed && call->rv == CKR_MECHANISM_INVALID)
    f = finding_report(check, SEVERITY_ERROR, KEY_NO_INFO,
                       "C_GetMechanismInfo does not know a mechanism that is listed (%s)", mech_name(type, name));
  else if (!listed && call->rv == CKR_OK && !login_between(slot, call, l->list.number))
    f = finding_report(check, SEVERITY_WARNING, KEY_UNLISTED,
                       "C_GetMechanismInfo knows a mechanism that is not listed (%s)", mech_name(type, name));
  finding_note(f, &l->list, NULL);
  finding_call(f, check, NULL);
}

/* FAQ, Q15: "NSS uses the first slot it finds that can perform all the required operations." What a slot can perform
 * NSS learns from the list, once (pk11slot.c, PK11_ReadMechanismList), and the sizes of keys from
 * C_GetMechanismInfo. */
void rule_mech_01(struct check *check, const struct call *call)
{
  if (!check->place.slot || model_removal(check->place.slot, call)) return;
  if (call->known == P11_F_C_GetMechanismList)
    list_call(check, call);
  else
    info_call(check, call);
}
