/* Slots: lists, presence. */
#include <inttypes.h>

#include "decoder/rules/rules.h"

static bool names_twice(const struct value *list, uint64_t *which)
{
  for (size_t i = 0; i < list->count; i++)
    for (size_t k = 0; k < i; k++)
      if (list->item[i].number == list->item[k].number) {
        *which = list->item[i].number;
        return true;
      }
  return false;
}

/* The standard, C_GetSlotList: "the set of slots accessible through a Cryptoki library is checked at the time that
 * C_GetSlotList, for list length prediction (NULL pSlotList argument) is called." NSS (pk11load.c,
 * secmod_LoadPKCS11Module) asks for the length, allocates, and gives the module up when the second call fails. With
 * tokenPresent = CK_TRUE the number "can (unfortunately) change" between the two, so only CK_FALSE is judged for
 * growth. Another thread that asks for the length in between refreshes the set: then nothing is said. */
void rule_slot_01(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  const struct finding_options whole = {.no_slot = true};
  const struct value *list = &call->arg[1].out;
  uint64_t room, count = 0, present, twice;
  char unknown[24];
  if (pick_is_null(call, 1) || pick_is_null(call, 2) || call->arg[2].in.what != VALUE_NUMBER) return;
  room = call->arg[2].in.number;
  const bool has_count = pick_out(call, 2, &count);
  if (call->rv == CKR_OK && has_count && count > room) {
    struct finding *f =
        finding_report_as(check, &whole, SEVERITY_ERROR, 1,
                          "C_GetSlotList returns %" PRIu64 " slots into a buffer for %" PRIu64, count, room);
    finding_call(f, check, "room for %" PRIu64, room);
    return;
  }
  if (call->rv == CKR_OK && list->what == VALUE_LIST && list->count <= 4096 && names_twice(list, &twice)) {
    struct finding *f =
        finding_report_as(check, &whole, SEVERITY_ERROR, 2, "C_GetSlotList names slot %" PRIu64 " twice", twice);
    finding_call(f, check, "%zu slots", list->count);
  }
  if (call->rv == CKR_BUFFER_TOO_SMALL && has_count && count <= room) {
    struct finding *f = finding_report_as(check, &whole, SEVERITY_ERROR, 3,
                                          "C_GetSlotList answers CKR_BUFFER_TOO_SMALL for %" PRIu64
                                          " entries, and the count it sets is %" PRIu64,
                                          room, count);
    finding_call(f, check, "room for %" PRIu64, room);
    return;
  }
  if (call->rv == CKR_OK || !pick_in(call, 0, &present) || present) return;
  const struct note *asked = &m->announced[0].note;
  /* The pair is this thread's, is the latest question of all threads, and C_Finalize is not near. */
  if (!asked->number || asked->tid != call->tid || asked->end_number != m->announced_end || m->announcing) return;
  if (m->changing || m->changed > asked->number || room < m->announced[0].count) return;
  struct finding *f =
      finding_report_as(check, &whole, SEVERITY_ERROR, 4,
                        "%" PRIu64 " slots were announced, and fetching them with room for %" PRIu64 " fails with %s",
                        m->announced[0].count, room, note_rv(call->rv, unknown));
  finding_note(f, asked, "announces %" PRIu64, m->announced[0].count);
  finding_call(f, check, "room for %" PRIu64, room);
}

/* --- NSS-SLOT-02 -------------------------------------------------------------------------------------------------- */

#define SLOTS 1024 /* of a module; more are not followed */

struct listed {
  unsigned epoch;
  unsigned count;
  struct note note[2];             /* the last full list and the one before, by which the ids were told */
  uint64_t id[SLOTS], when[SLOTS]; /* LEAVE number of the list that had it first */
  bool in_last[SLOTS];
  bool told; /* a list that lacks something was reported: what follows from it is not */
};
static const struct kept_type listed_type = {sizeof(struct listed), NULL};

static struct listed *listed_of(struct model_module *m)
{
  struct listed *l = kept_make(&m->kept, &listed_type);
  if (l->epoch != m->epochs) {
    l->epoch = m->epochs;
    l->count = 0;
    l->told = false;
    l->note[0] = l->note[1] = (struct note){0};
  }
  return l;
}

static bool has_id(const struct value *list, uint64_t id)
{
  for (size_t i = 0; i < list->count; i++)
    if (list->item[i].number == id) return true;
  return false;
}

/* The standard lets a slot go when the length of the list is asked for; NSS does not survive it. */
static enum severity of_removal(const struct check *check)
{
  return check->place.module->nss ? SEVERITY_ERROR : SEVERITY_WARNING;
}

static void told(struct check *check, struct listed *l, struct finding *f, const char *detail)
{
  l->told = true;
  finding_note(f, &l->note[0], NULL);
  finding_call(f, check, "%s", detail);
  finding_hint_proxy(f, check);
}

static void fewer(struct check *check, struct listed *l, uint64_t count)
{
  const struct finding_options whole = {.no_slot = true};
  struct finding *f = finding_report_as(check, &whole, of_removal(check), 1,
                                        "there were %u slots, and now there are %" PRIu64
                                        ": allowed by the standard, not survived by NSS",
                                        l->count, count);
  told(check, l, f, "fewer than before");
}

/* Takes the ids of a full list in; returns how many of them are new. */
static unsigned learn_ids(struct listed *l, const struct value *list, uint64_t number)
{
  unsigned fresh = 0;
  for (unsigned i = 0; i < l->count; i++) l->in_last[i] = false;
  for (size_t k = 0; k < list->count; k++) {
    unsigned i = 0;
    while (i < l->count && l->id[i] != list->item[k].number) i++;
    if (i == SLOTS) continue;
    if (i == l->count) {
      l->id[l->count] = list->item[k].number;
      l->when[l->count++] = number;
      fresh++;
    }
    l->in_last[i] = true;
  }
  return fresh;
}

static void full_list(struct check *check, const struct call *call, const struct value *list)
{
  struct listed *l = listed_of(check->place.module);
  const struct finding_options whole = {.no_slot = true};
  const unsigned before = l->count;
  unsigned missing = 0;
  uint64_t gone = 0;
  for (unsigned i = 0; i < before; i++) {
    if (has_id(list, l->id[i]) || l->when[i] > call->number) continue;
    if (!missing++) gone = l->id[i];
  }
  const unsigned fresh = learn_ids(l, list, call->end_number);
  if (missing && !l->told && fresh) {
    struct finding *f =
        finding_report_as(check, &whole, SEVERITY_ERROR, 2,
                          "slot %" PRIu64 " was listed, and now another id is there in its place", gone);
    told(check, l, f, "renumbered");
  } else if (missing && !l->told) {
    fewer(check, l, list->count);
  }
  l->note[1] = l->note[0];
  model_note(&check->place, &l->note[0], call);
}

static void invalid_id(struct check *check, const struct call *call)
{
  struct listed *l = kept_get(check->place.module->kept, &listed_type);
  const int p = pick_kind(call, P11_K_SLOT);
  uint64_t id;
  if (!l || l->told || l->epoch != check->place.module->epochs || p < 0 || !pick_in(call, (unsigned)p, &id)) return;
  for (unsigned i = 0; i < l->count; i++) {
    if (l->id[i] != id || l->when[i] > call->number || !l->in_last[i]) continue;
    const struct finding_options whole = {.no_slot = true};
    struct finding *f =
        finding_report_as(check, &whole, SEVERITY_ERROR, 3,
                          "slot %" PRIu64 " is listed, and %s answers CKR_SLOT_ID_INVALID", id, call->info->name);
    finding_note(f, &l->note[0], NULL);
    finding_call(f, check, NULL);
    finding_hint_proxy(f, check);
    return;
  }
}

/* FAQ, Q16: NSS polls "whether the card is still in the slot": the slot stays, the card goes. NSS (pk11util.c,
 * SECMOD_UpdateSlotList) gives up when there are fewer slots than it knows, and does not read the ids again when there
 * are as many. Lists with tokenPresent = CK_TRUE do change. */
void rule_slot_02(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  uint64_t present, count;
  if (m->epoch != EPOCH_OPEN || m->changing || m->changed > call->number) return;
  if (call->known != P11_F_C_GetSlotList) {
    if (call->rv == CKR_SLOT_ID_INVALID) invalid_id(check, call);
    return;
  }
  if (call->rv != CKR_OK || !pick_in(call, 0, &present) || present || !pick_out(call, 2, &count)) return;
  const struct value *list = &call->arg[1].out;
  if (!pick_is_null(call, 1)) {
    if (list->what == VALUE_LIST && list->count == count) full_list(check, call, list);
    return;
  }
  struct listed *l = kept_get(m->kept, &listed_type);
  if (!l || l->epoch != m->epochs || l->told || count >= l->count || l->note[0].end_number > call->number) return;
  fewer(check, l, count);
}
