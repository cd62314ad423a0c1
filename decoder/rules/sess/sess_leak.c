/* What the application leaves behind, or piles up. */
#include <inttypes.h>

#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

#define MINUTE 60000000000ull
#define MANY 900   /* NSS keeps 800 at most for later use (pk11slot.c, maxKeyCount) */
#define WINDOWS 10 /* minutes in which the number only grew */
#define SOME 10    /* sessions: fewer that are left at the end are no harm, C_Finalize closes them */
#define SHOWN 3

/* Per slot: how the number of sessions went. */
struct growth {
  uint64_t since; /* ns: the window began */
  unsigned at_start, rising;
};
static const struct kept_type growth = {sizeof(struct growth), NULL};

static void opened(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  struct finding *f = NULL;
  if (call->rv != CKR_OK || !slot) return;
  if (slot->sessions == MANY) f = finding_report(check, SEVERITY_WARNING, 2, "more than %d sessions are open", MANY);
  finding_caller(f, check);
  struct growth *g = kept_make(&slot->kept, &growth);
  if (g->since && call->start < g->since + MINUTE) return;
  g->rising = g->since && call->start < g->since + 2 * MINUTE && slot->sessions > g->at_start ? g->rising + 1 : 0;
  g->since = call->start;
  g->at_start = slot->sessions;
  if (g->rising < WINDOWS) return;
  g->rising = 0;
  f = finding_report(check, SEVERITY_WARNING, 3, "for %d minutes sessions were only added: %u are open", WINDOWS,
                     slot->sessions);
  finding_caller(f, check);
}

/* What is left in a slot. */
struct rest {
  unsigned sessions, operations, objects;
  const struct model_session *first[SHOWN];
  const struct model_operation *active;
};

/* Keeps the first ones, in the order in which they were opened. */
static void show(struct rest *r, const struct model_session *s)
{
  unsigned i = r->sessions < SHOWN ? r->sessions : SHOWN;
  for (; i > 0 && r->first[i - 1]->opened.number > s->opened.number; i--)
    if (i < SHOWN) r->first[i] = r->first[i - 1];
  if (i < SHOWN) r->first[i] = s;
}

static struct rest rest_of(const struct model_module *m, const struct model_slot *slot)
{
  struct rest r = {0};
  size_t at = 0;
  for (const struct model_session *s; (s = table_next(&m->sessions, &at));) {
    if (s->slot != slot || !s->opened.number) continue;
    show(&r, s);
    r.sessions++;
    for (int i = OP_ENCRYPT; i < OP_KINDS; i++) { /* searches: NSS-FIND-02 */
      if (!model_active(&s->op[i])) continue;
      r.active = &s->op[i];
      r.operations++;
    }
  }
  for (const struct model_object *o = m->newest; o; o = o->older)
    r.objects += o->slot == slot && o->facts.token == TRI_NO && o->made.number && model_session(m, o->creator);
  return r;
}

static void left(struct check *check, struct model_slot *slot, enum severity severity, const char *when)
{
  const struct finding_options o = {.slot = slot};
  const struct rest r = rest_of(slot->module, slot);
  const bool closes = check->call && check->call->known == P11_F_C_CloseAllSessions;
  const bool operations = check->call && r.operations; /* a program may die amid one */
  if (!operations && (closes || r.sessions < SOME)) return;
  struct finding *f =
      finding_report_as(check, &o, severity, 1, "%s: %u sessions, %u operations and %u session objects are left", when,
                        r.sessions, r.operations, r.objects);
  for (unsigned i = 0; i < SHOWN && i < r.sessions; i++) finding_note(f, &r.first[i]->opened, "not closed");
  if (r.active) finding_note(f, &r.active->begun, "not ended");
  finding_call(f, check, NULL);
}

/* NSS ends with C_CloseAllSessions for each slot, and that is no leak. Sessions that answer an error are forgotten
 * by it without C_CloseSession (pk11auth.c). The standard, session management: "Call C_CloseSession once for each
 * session that the application has with the token, or call C_CloseAllSessions". */
void rule_sess_13(struct check *check, const struct call *call)
{
  if (call && call->known == P11_F_C_OpenSession) {
    opened(check, call);
    return;
  }
  struct model_module *m = check->place.module;
  if (m->epoch != EPOCH_OPEN || (call && call->rv != CKR_OK)) return;
  if (call && call->known == P11_F_C_CloseAllSessions) {
    if (check->place.slot) left(check, check->place.slot, SEVERITY_WARNING, "at C_CloseAllSessions");
    return;
  }
  size_t at = 0;
  for (struct model_slot *slot; (slot = table_next(&m->slots, &at));)
    left(check, slot, call ? SEVERITY_WARNING : SEVERITY_INFO, call ? "at C_Finalize" : "at the end of the program");
}
