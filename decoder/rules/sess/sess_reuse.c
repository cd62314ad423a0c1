/* Handles of sessions that are gone. */
#include <inttypes.h>

#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

#define SECOND 1000000000ull
#define SOON (60 * SECOND) /* a handle that is given out again sooner may still be in somebody's hands */

/* Per module: handles that the application used after they had been closed. */
struct stale {
  uint64_t handle[16];
  unsigned count; /* a ring */
};
static const struct kept_type stale = {sizeof(struct stale), NULL};

static bool is_stale(const struct model_module *m, uint64_t handle)
{
  const struct stale *s = kept_get(m->kept, &stale);
  for (unsigned i = 0; s && i < sizeof s->handle / sizeof *s->handle; i++)
    if (s->handle[i] == handle) return true;
  return false;
}

static void given_twice(struct check *check, const struct call *call, const struct model_session *s)
{
  struct finding *f = NULL;
  if (!s->opened.number || s->opened.end_number > call->number || s->in_flight || !model_settled(s->slot, call)) return;
  /* The token was taken out meanwhile: the session was lost, and nobody has closed it. */
  if (s->slot->gone.end_number > s->opened.end_number)
    f = finding_report(check, SEVERITY_INFO, 3,
                       "C_OpenSession gives a handle out again that nobody has closed since the "
                       "token was removed");
  else
    f = finding_report(check, SEVERITY_ERROR, 2,
                       "C_OpenSession gives the handle 0x%" PRIx64 " out, which is open already", s->handle);
  finding_note(f, &s->opened, NULL);
  if (f && f->severity == SEVERITY_INFO) finding_note(f, &s->slot->gone, NULL);
  finding_call(f, check, NULL);
  finding_hint_proxy(f, check);
}

static void given_again(struct check *check, const struct call *call, const struct model_gone *gone)
{
  if (gone->note.end_number < check->place.module->initialized.number) return; /* NSS-INIT-09 */
  if (gone->why == GONE_FINALIZED || call->start > gone->note.end + SOON) return;
  /* Legal, and dangerous only for who holds on to handles. OpenSC's are addresses on the heap. */
  const bool used = is_stale(check->place.module, gone->handle);
  struct finding *f =
      finding_report(check, used ? SEVERITY_WARNING : SEVERITY_INFO, 3,
                     used ? "C_OpenSession gives a handle out again that the application goes on using after its close"
                          : "C_OpenSession gives the handle of a session out again that was closed within the minute");
  finding_note(f, &gone->made, NULL);
  finding_note(f, &gone->note, NULL);
  finding_call(f, check, NULL);
  finding_hint_proxy(f, check);
}

/* The standard, CK_SESSION_HANDLE: "Valid session handles in Cryptoki always have nonzero values." NSS takes 0 for
 * an error of the device (pk11slot.c). That a handle is not given out again at once stands nowhere, and is wise. */
void rule_sess_02(struct check *check, const struct call *call)
{
  uint64_t handle;
  if (call->rv != CKR_OK || !pick_out(call, 4, &handle)) return;
  const struct model_module *m = check->place.module;
  if (!handle) {
    struct finding *f = finding_report(check, SEVERITY_ERROR, 1, "C_OpenSession succeeds and gives session handle 0");
    finding_call(f, check, NULL);
    return;
  }
  const struct model_session *s = model_session(m, handle);
  if (s) {
    given_twice(check, call, s);
    return;
  }
  const struct model_gone *gone = model_gone_session(m, handle);
  if (gone) given_again(check, call, gone);
}

static void remember(struct model_module *m, uint64_t handle)
{
  struct stale *s = kept_make(&m->kept, &stale);
  s->handle[s->count++ % (sizeof s->handle / sizeof *s->handle)] = handle;
}

/* C_CloseSession of a session that is there: it fails, and stays. */
static void not_closed(struct check *check, const struct call *call, const struct model_session *s)
{
  char unknown[24];
  switch (call->rv) {
    case CKR_OK:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_REMOVED:
    case CKR_PENDING:
    case CKR_SESSION_CLOSED:
    case CKR_TOKEN_NOT_PRESENT: return;
    default: break;
  }
  if (!s->opened.number || !model_alone(s, call) || model_removal(s->slot, call)) return;
  if (s->slot->gone.end_number > s->opened.end_number) return; /* lost with the token */
  if (call->rv == CKR_SESSION_HANDLE_INVALID) {
    const struct model_slot *slot = s->slot;
    if (s->lost || model_doubtful(s)) return;
    if (!slot->has_flags || slot->flags & CKF_REMOVABLE_DEVICE) return; /* pulled, perhaps, and put in again unseen */
  }
  const struct finding_options o = {.cause = CAUSE_DEAD_SESSION};
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, 3,
                                        "C_CloseSession of an open session fails with %s", note_rv(call->rv, unknown));
  finding_note(f, &s->opened, NULL);
  finding_call(f, check, NULL);
}

/* Is it certain that no session had the handle while the call was under way? */
static bool surely_dead(const struct model_module *m, const struct call *call, const struct model_gone *gone)
{
  if (m->epoch != EPOCH_OPEN || !m->initialized.number || m->changing || m->changed > call->number) return false;
  if (!gone) return m->gone_sessions <= MODEL_GONE; /* never given out, if none was forgotten */
  if (gone->note.end_number > call->number || gone->note.end_number < m->initialized.number) return false;
  return gone->why == GONE_CLOSED || gone->why == GONE_ALL;
}

static void by_module(struct check *check, const struct call *call, const struct model_gone *gone)
{
  const struct finding_options o = {.cause = CAUSE_DEAD_SESSION, .no_slot = true};
  const char *what = gone ? "was closed before" : "was never given out";
  struct finding *f;
  if (call->known == P11_F_C_CloseSession)
    f = finding_report_as(check, &o, SEVERITY_WARNING, 2, "C_CloseSession succeeds for a session that %s", what);
  else
    f = finding_report_as(check, &o, SEVERITY_ERROR, 1, "%s succeeds in a session that %s", call->info->name, what);
  if (gone) {
    finding_note(f, &gone->made, NULL);
    finding_note(f, &gone->note, NULL);
  }
  finding_call(f, check, NULL);
  finding_hint_proxy(f, check);
}

/* The standard, CKR_SESSION_HANDLE_INVALID: "The specified session handle was invalid at the time that the function was
 * invoked." What removal has ended is NSS-SLOT-05's and -06's, what C_Finalize has NSS-INIT-09's. */
void rule_sess_04(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  struct model_module *m = check->place.module;
  uint64_t handle;
  if (s) {
    if (call->known == P11_F_C_CloseSession) not_closed(check, call, s);
    return;
  }
  const int at = pick_kind(call, P11_K_SESSION);
  if (at < 0 || !pick_in(call, (unsigned)at, &handle) || !handle) return;
  const struct model_gone *gone = model_gone_session(m, handle);
  if (!surely_dead(m, call, gone)) return;
  const struct model_slot *slot = gone ? table_get(&m->slots, gone->slot) : NULL;
  if (slot && (model_removal(slot, call) || !model_settled(slot, call))) return;
  if (call->rv == CKR_OK) by_module(check, call, gone);
  if (call_is_probe(call)) return;
  remember(m, handle);
  const struct finding_options by_caller = {.fault = FAULT_CALLER, .no_slot = true};
  struct finding *f =
      finding_report_as(check, &by_caller, SEVERITY_WARNING, 0, "the application calls %s with a session that %s",
                        call->info->name, gone ? "it has closed" : "it never opened");
  if (gone) {
    finding_note(f, &gone->made, NULL);
    finding_note(f, &gone->note, NULL);
  }
  finding_caller(f, check);
}
