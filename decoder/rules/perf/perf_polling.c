/* What NSS asks again and again must be cheap. */
#include <inttypes.h>

#include "decoder/rules/perf/perf_help.h"

#define SLOW (20 * MILLISECOND)   /* what one of twenty calls may take, and no more */
#define STALL (500 * MILLISECOND) /* what hardly any may take */
#define ENOUGH 20                 /* calls that can have a 95th percentile */
#define OFTEN 5                   /* calls a second of a slot: NSS itself makes one or two */
#define LASTING 10                /* seconds of that */

enum { SLOT_LIST, SLOT_INFO, TOKEN_INFO, SESSION_INFO, POLLED };
static const int function_of[POLLED] = {P11_F_C_GetSlotList, P11_F_C_GetSlotInfo, P11_F_C_GetTokenInfo,
                                        P11_F_C_GetSessionInfo};

struct samples {
  unsigned after;       /* generation of the token, + 1, whose first call was seen: that one may be slow */
  uint64_t alone, slow; /* calls that no other overlapped; of them the slow ones */
  uint64_t stalls;
  struct note slow_call[THRICE], stall[THRICE]; /* the first ones */
};

/* Of a slot; C_GetSlotList is of the module. */
struct polling {
  struct samples of[POLLED];
  uint64_t second;  /* that is counted, + 1 */
  unsigned calls;   /* in it */
  unsigned seconds; /* before it, in a row, with too many */
  struct note first, last;
};
static const struct kept_type polling = {sizeof(struct polling), NULL};

enum { KEY_TIME = 0, KEY_RATE = POLLED };

static void show(struct finding *f, const struct note note[THRICE])
{
  for (int i = 0; i < THRICE; i++) finding_note(f, &note[i], "took %lu ms", perf_ms(note[i].end - note[i].start));
  perf_hint(f);
}

static void measure(struct check *check, const struct call *call, struct samples *s, int polled)
{
  const uint64_t took = perf_took(call);
  const unsigned generation = check->place.slot ? check->place.slot->generation + 1 : 1;
  if (s->after != generation) {
    s->after = generation;
    /* With a card that is not recognised each look-up is a first one (devslot.c, nssSlot_IsTokenPresent). */
    if (call->rv != CKR_TOKEN_NOT_RECOGNIZED) return;
  }
  /* What waited for another call is NSS-PERF-02's. */
  if (model_overlapped(check->place.module, call)) return;
  s->alone++;
  if (took <= SLOW || perf_disturbed(check, call)) return;
  if (s->slow++ < THRICE) model_note(&check->place, &s->slow_call[s->slow - 1], call);
  if (took <= STALL) return;
  if (s->stalls++ < THRICE) model_note(&check->place, &s->stall[s->stalls - 1], call);
  if (s->stalls < THRICE) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, KEY_TIME + (uint64_t)polled,
                     "%s takes more than half a second, again and again", p11_functions[call->known].name);
  show(f, s->stall);
}

static void count(struct check *check, const struct call *call, struct polling *p)
{
  const uint64_t second = call->start / SECOND + 1;
  if (second < p->second) return; /* began before one that is over */
  if (second != p->second) {
    const bool goes_on = p->calls > OFTEN && second == p->second + 1;
    p->seconds = goes_on ? p->seconds + 1 : 0;
    p->second = second;
    p->calls = 0;
    if (!goes_on) model_note(&check->place, &p->first, call);
  }
  if (++p->calls <= OFTEN || p->seconds + 1 < LASTING) return;
  const struct finding_options by_caller = {.fault = FAULT_CALLER};
  struct finding *f =
      finding_report_as(check, &by_caller, SEVERITY_INFO, KEY_RATE,
                        "the application asks for %s more than %d times a second, for %d seconds and more",
                        check->place.slot ? "the state of the slot" : "the slots", OFTEN, LASTING);
  finding_note(f, &p->first, NULL);
  finding_call(f, check, NULL);
}

/* Is the 95th percentile too high? */
static void judge(struct check *check, struct model_slot *slot, const struct polling *p)
{
  for (int i = 0; p && i < POLLED; i++) {
    const struct samples *s = &p->of[i];
    if (s->alone < ENOUGH || s->slow < THRICE || s->slow * 20 <= s->alone || s->stalls >= THRICE) continue;
    const struct finding_options o = {.slot = slot, .no_slot = slot == NULL};
    struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, KEY_TIME + (uint64_t)i,
                                          "%s takes more than %lu ms in %" PRIu64 " of %" PRIu64 " calls",
                                          p11_functions[function_of[i]].name, perf_ms(SLOW), s->slow, s->alone);
    show(f, s->slow_call);
  }
}

/* At C_Finalize, when slots are forgotten, or at the end. */
static void all_over(struct check *check)
{
  struct model_module *m = check->place.module;
  size_t at = 0;
  judge(check, NULL, kept_get(m->kept, &polling));
  kept_drop(&m->kept, &polling);
  for (struct model_slot *s; (s = table_next(&m->slots, &at));) judge(check, s, kept_get(s->kept, &polling));
}

/* FAQ, Q16: "NSS applications detect card insertion and deletion by means of polling to determine whether the card is
 * still in the slot and whether the open session associated with that card is still valid". Q10: "NSS never attempts to
 * cache this information". It asks about once a second for each slot (devslot.c), on the threads that load pages. */
void rule_perf_01(struct check *check, const struct call *call)
{
  if (!call) {
    if (check->event->type == EVENT_MARKER)
      perf_marker(check);
    else
      all_over(check);
    return;
  }
  struct model_slot *slot = check->place.slot;
  if (call->known == P11_F_C_Finalize && call->rv == CKR_OK) all_over(check);
  if (call->known == P11_F_C_Finalize || (call->known != P11_F_C_GetSlotList && !slot)) return;
  struct polling *p = kept_make(slot ? &slot->kept : &check->place.module->kept, &polling);
  for (int i = 0; i < POLLED; i++)
    if (function_of[i] == call->known) measure(check, call, &p->of[i], i);
  count(check, call, p);
}
