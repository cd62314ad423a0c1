/* C_WaitForSlotEvent. */
#include <inttypes.h>

#include "decoder/rules/rules.h"

#define SECOND (uint64_t)1000000000
#define SOON 100000000ull /* 100 ms */
#define LATE (5 * SECOND)
#define WAITERS 4

static const struct finding_options whole = {.no_slot = true};

static bool blocks(const struct call *call)
{
  uint64_t flags;
  return pick_in(call, 0, &flags) && !(flags & CKF_DONT_BLOCK);
}

/* --- NSS-SLOT-08 -------------------------------------------------------------------------------------------------- */

struct waits {
  struct note waiting[WAITERS]; /* blocked calls that have begun */
  struct note ended[WAITERS];   /* the C_Finalize that should have ended each */
  struct note finalizing;       /* a C_Finalize that has begun */
  struct note named;            /* an answer with a slot that no list has had */
  uint64_t slot;
  struct note first_quick; /* blocked calls in a row that fail at once */
  unsigned quick;
  uint64_t listed[64]; /* ids of the last full list */
  unsigned count;
  bool complete; /* `listed` is all of them */
};
static const struct kept_type waits_type = {sizeof(struct waits), NULL};

static void wait_begins(struct check *check, const struct call *call, struct waits *w)
{
  struct note *place = NULL;
  if (!blocks(call)) return;
  for (unsigned i = 0; i < WAITERS; i++) {
    if (!w->waiting[i].number) {
      place = place ? place : &w->waiting[i];
      continue;
    }
    const struct finding_options by_caller = {.no_slot = true, .fault = FAULT_CALLER};
    struct finding *f =
        finding_report_as(check, &by_caller, SEVERITY_WARNING, 5, "two threads wait in C_WaitForSlotEvent at a time");
    finding_note(f, &w->waiting[i], NULL);
    finding_call(f, check, "while the other is blocked");
  }
  if (place) model_note(&check->place, place, call);
}

/* Returns the C_Finalize that should have ended the call; empty when there was none. */
static struct note forget_wait(struct waits *w, const struct call *call)
{
  struct note ended = {0};
  for (unsigned i = 0; i < WAITERS; i++) {
    if (w->waiting[i].number != call->number) continue;
    ended = w->ended[i];
    w->waiting[i] = w->ended[i] = (struct note){0};
  }
  return ended;
}

static bool is_listed(const struct waits *w, uint64_t slot)
{
  for (unsigned i = 0; i < w->count; i++)
    if (w->listed[i] == slot) return true;
  return false;
}

static void list_seen(struct check *check, const struct call *call, struct waits *w)
{
  const struct value *list = &call->arg[1].out;
  uint64_t present, count;
  if (call->rv != CKR_OK || !pick_in(call, 0, &present) || present || pick_is_null(call, 1)) return;
  if (list->what != VALUE_LIST || !pick_out(call, 2, &count)) return;
  w->complete = list->count == count && count <= sizeof w->listed / sizeof *w->listed;
  w->count = 0;
  for (size_t i = 0; w->complete && i < list->count; i++) w->listed[w->count++] = list->item[i].number;
  if (!w->complete || !w->named.number || w->named.end_number > call->number) return;
  if (!is_listed(w, w->slot)) {
    struct finding *f = finding_report_as(check, &whole, SEVERITY_ERROR, 2,
                                          "C_WaitForSlotEvent returns slot %" PRIu64 ", which is in no list", w->slot);
    finding_note(f, &w->named, NULL);
    finding_call(f, check, "%u slots", w->count);
  }
  w->named = (struct note){0};
}

/* Blocked calls that come back at once with an error, which a caller repeats for ever. */
static void quick_failure(struct check *check, const struct call *call, struct waits *w)
{
  char unknown[24];
  const bool quick = call->rv != CKR_OK && call->rv != CKR_FUNCTION_NOT_SUPPORTED &&
                     call->rv != CKR_CRYPTOKI_NOT_INITIALIZED && call->rv != CKR_NO_EVENT &&
                     call->end < call->start + SOON;
  if (!quick || (w->quick && w->first_quick.rv != call->rv)) w->quick = 0;
  if (!quick) return;
  if (!w->quick++) model_note(&check->place, &w->first_quick, call);
  if (w->quick < 5) return;
  struct finding *f = finding_report_as(
      check, &whole, call->rv == CKR_FUNCTION_FAILED ? SEVERITY_WARNING : SEVERITY_ERROR, 4,
      "C_WaitForSlotEvent that shall block fails at once with %s, 5 times in a row", note_rv(call->rv, unknown));
  finding_note(f, &w->first_quick, NULL);
  finding_call(f, check, NULL);
}

/* C_Finalize of another thread ends a wait, with one code, and soon. */
static void woken(struct check *check, const struct call *call, const struct note *finalized)
{
  const bool over = finalized->state == CALL_DONE; /* C_Finalize may be in flight still */
  const uint64_t late = over && call->end > finalized->end ? call->end - finalized->end : 0;
  char unknown[24];
  struct finding *f;
  if (late > SECOND)
    f = finding_report_as(check, &whole, SEVERITY_ERROR, 3,
                          "C_WaitForSlotEvent returns %" PRIu64 ".%03" PRIu64 " s after C_Finalize", late / SECOND,
                          late % SECOND / 1000000);
  else if (call->rv != CKR_CRYPTOKI_NOT_INITIALIZED && call->rv != CKR_OK && call->rv != CKR_FUNCTION_NOT_SUPPORTED)
    f = finding_report_as(check, &whole, SEVERITY_ERROR, 6,
                          "C_Finalize ends C_WaitForSlotEvent with %s, not CKR_CRYPTOKI_NOT_INITIALIZED",
                          note_rv(call->rv, unknown));
  else
    return;
  finding_call(f, check, "begun before C_Finalize");
  finding_note(f, finalized, NULL);
}

static void wait_over(struct check *check, const struct call *call, struct waits *w, const struct note *ended)
{
  uint64_t slot;
  if (ended->number || (w->finalizing.number > call->number && w->finalizing.number < call->end_number)) {
    woken(check, call, ended->number ? ended : &w->finalizing);
    return;
  }
  if (call->rv == CKR_NO_EVENT) {
    struct finding *f = finding_report_as(check, &whole, SEVERITY_ERROR, 1,
                                          "C_WaitForSlotEvent without CKF_DONT_BLOCK answers CKR_NO_EVENT");
    finding_call(f, check, NULL);
  }
  if (call->rv == CKR_OK && pick_out(call, 1, &slot) && w->complete && !is_listed(w, slot)) {
    w->slot = slot;
    model_note(&check->place, &w->named, call);
  }
  quick_failure(check, call, w);
}

static void finalized(struct check *check, const struct call *call, struct waits *w)
{
  for (unsigned i = 0; i < WAITERS; i++)
    if (w->waiting[i].number && w->waiting[i].number < call->number && !w->ended[i].number)
      model_note(&check->place, &w->ended[i], call);
}

/* Calls that never returned, although the trace goes on for long. */
static void never_woken(struct check *check, const struct waits *w)
{
  for (unsigned i = 0; i < WAITERS; i++) {
    const struct note *waiting = &w->waiting[i], *finalized = &w->ended[i];
    if (!waiting->number || !finalized->number || check->event->time < finalized->end + SECOND) continue;
    struct finding *f = finding_report_as(check, &whole, SEVERITY_ERROR, 3,
                                          "C_WaitForSlotEvent does not return although C_Finalize was called");
    finding_note(f, waiting, "begun before C_Finalize");
    finding_note(f, finalized, NULL);
  }
}

/* The standard, C_WaitForSlotEvent: with CKF_DONT_BLOCK clear "it will block"; CKR_NO_EVENT "is returned when
 * C_WaitForSlotEvent is called in non-blocking mode"; "the behavior of Cryptoki is undefined if multiple threads of a
 * single application make simultaneous calls". NSS polls instead on CKR_FUNCTION_NOT_SUPPORTED alone, and ends a wait
 * by C_Finalize (pk11util.c). */
void rule_slot_08(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  struct waits *w = call ? kept_make(&m->kept, &waits_type) : kept_get(m->kept, &waits_type);
  const bool over = call && !check->starting && call->state == CALL_DONE;
  if (!call) {
    if (w) never_woken(check, w);
    return;
  }
  switch (call->known) {
    case P11_F_C_GetSlotList:
      if (over) list_seen(check, call, w);
      return;
    case P11_F_C_Finalize:
      w->finalizing = (struct note){0};
      if (check->starting) model_note(&check->place, &w->finalizing, call);
      if (over && call->rv == CKR_OK) finalized(check, call, w);
      return;
    default:
      if (check->starting) wait_begins(check, call, w);
      if (!over && call->state != CALL_ABANDONED) return;
      const struct note ended = forget_wait(w, call);
      if (over && blocks(call)) wait_over(check, call, w, &ended);
  }
}

/* --- NSS-SLOT-09 -------------------------------------------------------------------------------------------------- */

struct waiter {
  struct note waiting; /* the blocked call that has begun */
};
struct moved {
  bool present, known;
  struct note looked;         /* last C_GetSlotInfo */
  struct note before, change; /* a change that was seen while somebody waited, and is not delivered yet */
  struct note waiter;
};
static const struct kept_type waiter_type = {sizeof(struct waiter), NULL};
static const struct kept_type moved_type = {sizeof(struct moved), NULL};

static void looked(struct check *check, const struct call *call, struct model_slot *slot)
{
  const struct value *flags = pick_member(call, 1, P11_S_CK_SLOT_INFO, offsetof(CK_SLOT_INFO, flags));
  if (call->rv != CKR_OK || !flags) return;
  const struct waiter *w = kept_get(check->place.module->kept, &waiter_type);
  struct moved *s = kept_make(&slot->kept, &moved_type);
  const bool present = flags->number & CKF_TOKEN_PRESENT;
  /* Seen by two looks while the same call waited: the event is that call's. */
  if (s->known && s->present != present && !s->change.number && w && w->waiting.number &&
      w->waiting.number < s->looked.number && s->looked.end_number < call->number) {
    s->before = s->looked;
    s->waiter = w->waiting;
    model_note(&check->place, &s->change, call);
  } else if (s->change.number && call->start > s->change.end + LATE) {
    if (w && w->waiting.number) {
      struct finding *f = finding_report(check, SEVERITY_WARNING, 0,
                                         "the token %s, and C_WaitForSlotEvent, which waits, does not tell within 5 s",
                                         s->present ? "was inserted" : "was removed");
      finding_note(f, &s->waiter, "blocked all the time");
      finding_note(f, &s->before, NULL);
      finding_note(f, &s->change, NULL);
      finding_call(f, check, "5 s later");
    }
    s->change = (struct note){0};
  }
  s->present = present;
  s->known = true;
  model_note(&check->place, &s->looked, call);
}

static void delivered(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  uint64_t slot;
  if (call->rv == CKR_FUNCTION_NOT_SUPPORTED || call->rv == CKR_CRYPTOKI_NOT_INITIALIZED) {
    size_t at = 0;
    for (struct model_slot *s; (s = table_next(&m->slots, &at));) kept_drop(&s->kept, &moved_type);
    return;
  }
  if (call->rv != CKR_OK || !pick_out(call, 1, &slot)) return;
  struct model_slot *s = table_get(&m->slots, slot);
  struct moved *moved = s ? kept_get(s->kept, &moved_type) : NULL;
  if (moved) moved->change = (struct note){0};
}

/* The standard, C_WaitForSlotEvent: "Whenever a slot event occurs, the flag corresponding to the slot in which the
 * event occurred is set", and the call "will wait until some slot's event flag becomes set". FAQ, Q16: NSS applications
 * detect cards "by waiting on the C_WaitForSlotEvent call". */
void rule_slot_09(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  if (call->known == P11_F_C_GetSlotInfo) {
    if (!check->starting && check->place.slot && call->state == CALL_DONE) looked(check, call, check->place.slot);
    return;
  }
  if (!blocks(call)) {
    if (!check->starting) delivered(check, call);
    return;
  }
  struct waiter *w = kept_make(&m->kept, &waiter_type);
  if (check->starting) {
    model_note(&check->place, &w->waiting, call);
    return;
  }
  if (w->waiting.number == call->number) w->waiting = (struct note){0};
  delivered(check, call);
}
