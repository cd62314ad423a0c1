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
 * C_GetSlotList, for list length prediction (NULL pSlotList argument) is called." NSS (pk11load.c, secmod_LoadPKCS11Module)
 * asks for the length, allocates, and gives the module up when the second call fails. With tokenPresent = CK_TRUE the number
 * "can (unfortunately) change" between the two, so only CK_FALSE is judged for growth.
 * Another thread that asks for the length in between refreshes the set: then nothing is said. */
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
