/* Calls that wait for a call which has nothing to do with them. */
#include "decoder/rules/perf/perf_help.h"

#define LONG (500 * MILLISECOND)
#define SHORT (50 * MILLISECOND) /* a tenth of LONG: what a function usually takes less than */
#define TOGETHER (5 * MILLISECOND)
#define RING 16
#define PAIRS 16

struct long_call {
  struct note note;
  uint64_t session; /* 0: it has none */
};

struct waiting {
  /* Of calls that waited for none: how many, and how many of them were not short. */
  struct {
    uint32_t calls, slow;
  } of[P11_FUNCTIONS];
  struct long_call ring[RING];
  unsigned calls;
  struct pair {
    int holds, waits;
    unsigned count;
    struct note note[THRICE][2];
  } pair[PAIRS];
  unsigned pairs;
};
static const struct kept_type waiting = {sizeof(struct waiting), NULL};

/* Calls that concern the whole module, or wait for something else by their nature. */
static bool may_wait(int function)
{
  switch (function) {
    case P11_F_C_Initialize:
    case P11_F_C_Finalize:
    case P11_F_C_InitToken:
    case P11_F_C_CloseAllSessions:
    case P11_F_C_WaitForSlotEvent: return true;
    default: return false;
  }
}

static bool may_be_waited_for(int function)
{
  return function == P11_F_C_Initialize || function == P11_F_C_Finalize;
}

/* Did `b` begin while `a` was at work, and end when it ended? The longer it took the less exact is when it was
 * woken. */
static bool waited(const struct long_call *a, const struct long_call *b)
{
  const uint64_t took = b->note.end - b->note.start, exact = took / 20 > TOGETHER ? took / 20 : TOGETHER;
  const uint64_t apart = b->note.end > a->note.end ? b->note.end - a->note.end : a->note.end - b->note.end;
  if (a->session && a->session == b->session) return false;
  if (may_be_waited_for(a->note.known) || may_wait(b->note.known)) return false;
  return a->note.tid != b->note.tid && a->note.start < b->note.start && b->note.start < a->note.end && apart <= exact;
}

/* Is the function usually short? A card that signs for a second cannot sign twice at once: that is no wrong. */
static bool usually_short(const struct waiting *w, int function)
{
  return w->of[function].calls > 2 * w->of[function].slow;
}

static void found(struct check *check, struct waiting *w, const struct long_call *a, const struct long_call *b)
{
  struct pair *p = NULL;
  for (unsigned i = 0; i < w->pairs && !p; i++)
    if (w->pair[i].holds == a->note.known && w->pair[i].waits == b->note.known) p = &w->pair[i];
  if (!p && w->pairs == PAIRS) return;
  if (!p) {
    p = &w->pair[w->pairs++];
    p->holds = a->note.known;
    p->waits = b->note.known;
  }
  if (p->count < THRICE) {
    p->note[p->count][0] = a->note;
    p->note[p->count][1] = b->note;
  }
  if (++p->count < THRICE) return;
  const struct finding_options o = {.no_slot = true};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_WARNING, (uint64_t)p->holds * P11_FUNCTIONS + (uint64_t)p->waits,
                        p->holds == p->waits ? "%s in one session waits for %s in another"
                                             : "%s waits until %s is over, with which it has nothing to do",
                        p11_functions[p->waits].name, p11_functions[p->holds].name);
  for (int i = 0; i < THRICE; i++) {
    finding_note(f, &p->note[i][0], NULL);
    finding_note(f, &p->note[i][1], "took %lu ms", perf_ms(p->note[i][1].end - p->note[i][1].start));
  }
  perf_hint(f);
}

/* Returns whether the call has waited for one of those in the ring. */
static bool compare(struct check *check, const struct call *call, struct waiting *w)
{
  struct long_call *now = &w->ring[w->calls++ % RING];
  uint64_t session;
  bool did = false;
  const int i = pick_kind(call, P11_K_SESSION);
  now->session = i >= 0 && pick_in(call, (unsigned)i, &session) ? session : 0;
  model_note(&check->place, &now->note, call);
  for (const struct long_call *c = w->ring; c < w->ring + RING; c++) {
    if (c == now || !c->note.number) continue;
    if (waited(c, now) && usually_short(w, now->note.known)) {
      found(check, w, c, now);
      did = true;
    } else if (waited(now, c) && usually_short(w, c->note.known)) {
      found(check, w, now, c); /* woken before the other had returned */
    }
  }
  return did;
}

/* FAQ, Q19: "PKCS #11 sessions are cryptographic session states, independent of threads." Firefox logs in on one thread
 * while others go on asking for slots and sessions: what they ask must not wait for a user at the reader's keys. */
void rule_perf_02(struct check *check, const struct call *call)
{
  if (!call) {
    perf_marker(check);
    return;
  }
  struct waiting *w = kept_make(&check->place.module->kept, &waiting);
  const uint64_t took = perf_took(call);
  if (took < SHORT) {
    w->of[call->known].calls++;
    return;
  }
  if (took >= LONG && !perf_disturbed(check, call) && compare(check, call, w)) return;
  w->of[call->known].calls++;
  w->of[call->known].slow++;
}
