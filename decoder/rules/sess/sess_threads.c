/* One session, one thread at a time. */
#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

/* Per session: a call that was over while another was at work, until that one is over too. */
struct overlapped {
  struct note note;
  bool changes;
};
static const struct kept_type overlapped = {sizeof(struct overlapped), NULL};

/* Does the call change what is at work in its session? Two that only ask or read do not disturb each other. */
static bool changes(const struct call *call)
{
  int op[2];
  return model_ops_of(call->known, op) > 0 || call->known == P11_F_C_CloseSession ||
         call->known == P11_F_C_SetOperationState || call->known == P11_F_C_SessionCancel;
}

static bool closes(const struct note *note)
{
  return note->known == P11_F_C_CloseSession;
}

static void both_over(struct check *check, const struct call *call, struct model_session *s)
{
  const struct finding_options by_caller = {.fault = FAULT_CALLER};
  const struct overlapped *other = kept_get(s->kept, &overlapped);
  if (!other || other->note.end_number < call->number || other->note.tid == call->tid) return;
  if (!other->changes && !changes(call)) return;
  const bool first = other->note.number < call->number;
  const char *name = p11_functions[other->note.known].name;
  /* NSS reads random numbers and looks at softoken's slots in a session in which another thread searches: nothing of the
   * search is touched by it. Whoever closes the session touches everything. */
  const bool grave = (other->changes && changes(call)) || closes(&other->note) || call->known == P11_F_C_CloseSession;
  struct finding *f = finding_report_as(check, &by_caller, grave ? SEVERITY_ERROR : SEVERITY_INFO, grave,
                                        "two threads use one session at the same time, for %s and %s",
                                        first ? name : call->info->name, first ? call->info->name : name);
  if (first) finding_note(f, &other->note, NULL);
  finding_caller(f, check);
  if (!first) finding_note(f, &other->note, NULL);
}

/* FAQ, Q19: "multiple threads may call the same session, but two threads will not call the same session at the same
 * time." A call of one thread that is interrupted by a signal's handler is no second thread. */
void rule_sess_05(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  if (!s || (!s->in_flight && s->busy_end < call->number)) return;
  if (s->opened.end_number > call->number) return; /* the handle was another session's when the call began */
  if (s->busy_end > call->number) both_over(check, call, s);
  if (!s->in_flight) return;
  struct overlapped *o = kept_make(&s->kept, &overlapped);
  model_note(&check->place, &o->note, call);
  o->changes = changes(call);
}
