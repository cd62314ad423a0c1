/* The order of C_FindObjectsInit, C_FindObjects and C_FindObjectsFinal. */
#include <inttypes.h>

#include "decoder/rules/find/find_help.h"

#define SECOND 1000000000ull
#define LONG (60 * SECOND)

/* Of a slot: a search ended with CKR_OK and no handle. */
static const struct kept_type ended_type = {1, NULL};

bool find_ends_well(const struct model_slot *slot)
{
  return slot && kept_get(slot->kept, &ended_type);
}

static void active_init(struct check *check, const struct call *call, const struct model_operation *op)
{
  const struct finding_options caller = {.fault = FAULT_CALLER};
  if (call->rv == CKR_OK) {
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, 1, "C_FindObjectsInit begins a search while another one is active");
    finding_note(f, &op->begun, NULL);
    finding_call(f, check, NULL);
  } else if (call->rv != CKR_OPERATION_ACTIVE) {
    return;
  }
  struct finding *f = finding_report_as(check, &caller, SEVERITY_WARNING, 1,
                                        "a search is begun before C_FindObjectsFinal has ended the one before");
  finding_note(f, &op->begun, NULL);
  finding_call(f, check, NULL);
}

static void init(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct finding_options active = {.cause = CAUSE_ACTIVE};
  const struct model_search *q = model_search(s);
  /* What a search that failed leaves behind is NSS-FIND-02's. */
  if (q && q->active && q->failed) return;
  if (find_is_active(s)) {
    active_init(check, call, &s->op[OP_FIND]);
  } else if (call->rv == CKR_OPERATION_ACTIVE && model_idle(s)) {
    struct finding *f = finding_report_as(check, &active, SEVERITY_ERROR, 2,
                                          "C_FindObjectsInit answers CKR_OPERATION_ACTIVE and nothing is at work");
    finding_note(f, &s->op[OP_FIND].last, "the search before it is over");
    finding_call(f, check, NULL);
  }
}

/* The search of this session is lost, or cannot be read to its end. */
static void active_step(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct finding_options odd = {.cause = CAUSE_CODE};
  const struct model_search *q = model_search(s);
  const bool final = call->known == P11_F_C_FindObjectsFinal;
  char code[24];
  struct finding *f = NULL;
  /* A module may end the search when C_FindObjects fails: NSS-FIND-02 asks for that. */
  if (call->rv == CKR_OK || (q && q->failed)) return;
  if (call->rv == CKR_OPERATION_NOT_INITIALIZED) {
    f = finding_report_as(check, &odd, SEVERITY_ERROR, 3, "%s finds no search although one is active",
                          call->info->name);
  } else if (find_other_matter(call->rv)) {
    return;
  } else if (final) {
    f = finding_report_as(check, &odd, SEVERITY_ERROR, 4, "C_FindObjectsFinal of an active search fails with %s",
                          note_rv(call->rv, code));
  } else {
    const bool end = q && q->complete;
    f = finding_report_as(check, &odd, end ? SEVERITY_ERROR : SEVERITY_WARNING, 5,
                          end ? "C_FindObjects fails with %s where the results end, not with CKR_OK and no handle"
                              : "C_FindObjects of an active search fails with %s",
                          note_rv(call->rv, code));
  }
  finding_note(f, &s->op[OP_FIND].begun, NULL);
  if (q && q->last.number) finding_note(f, &q->last, NULL);
  finding_call(f, check, NULL);
}

static void idle_step(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct finding_options odd = {.cause = CAUSE_CODE}, caller = {.fault = FAULT_CALLER};
  const bool final = call->known == P11_F_C_FindObjectsFinal;
  char code[24];
  struct finding *f = NULL;
  if (call->rv == CKR_OK) {
    f = finding_report(check, final ? SEVERITY_WARNING : SEVERITY_ERROR, final ? 6 : 7,
                       "%s succeeds although no search is active", call->info->name);
  } else if (call->rv != CKR_OPERATION_NOT_INITIALIZED && !find_other_matter(call->rv)) {
    f = finding_report_as(check, &odd, SEVERITY_WARNING, final ? 6 : 7,
                          "%s without a search fails with %s, not CKR_OPERATION_NOT_INITIALIZED", call->info->name,
                          note_rv(call->rv, code));
  }
  finding_note(f, &s->op[OP_FIND].last, NULL);
  finding_call(f, check, NULL);
  f = finding_report_as(check, &caller, final ? SEVERITY_INFO : SEVERITY_WARNING, final ? 6 : 7,
                        "%s is called and no search is active", call->info->name);
  finding_note(f, &s->op[OP_FIND].last, NULL);
  finding_call(f, check, NULL);
}

/* The standard, C_FindObjectsInit: "the application may call C_FindObjects one or more times to obtain handles for objects
 * matching the template, and then eventually call C_FindObjectsFinal to finish the active search operation. At most one
 * search operation may be active at a given time in a given session." C_FindObjects: "If there are no more objects matching
 * the template, then the location that pulObjectCount points to receives the value 0", which is no error. */
void rule_find_01(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  uint64_t count;
  if (s && call->known == P11_F_C_FindObjects && call->rv == CKR_OK && pick_out(call, 3, &count) && !count)
    kept_make(&s->slot->kept, &ended_type);
  if (!s || !model_alone(s, call) || model_removal(s->slot, call)) return;
  if (call->known == P11_F_C_FindObjectsInit)
    init(check, call, s);
  else if (find_is_active(s))
    active_step(check, call, s);
  else if (find_is_over(s))
    idle_step(check, call, s);
}

static void blocked(struct check *check, const struct model_session *s, const struct model_search *q)
{
  const struct finding_options active = {.cause = CAUSE_ACTIVE}, caller = {.fault = FAULT_CALLER};
  char code[24];
  struct finding *f =
      finding_report_as(check, &active, SEVERITY_ERROR, 0,
                        "a search that failed with %s stays active and blocks the session: CKR_OPERATION_ACTIVE",
                        note_rv(q->failure.rv, code));
  finding_note(f, &s->op[OP_FIND].begun, NULL);
  finding_note(f, &q->failure, NULL);
  finding_call(f, check, "there was no C_FindObjectsFinal between");
  f = finding_report_as(check, &caller, SEVERITY_WARNING, 1,
                        "C_FindObjectsFinal is not called after C_FindObjects has failed");
  finding_note(f, &q->failure, NULL);
  finding_call(f, check, NULL);
}

/* NSS leaves a search whose C_FindObjects failed without C_FindObjectsFinal, on its default session (devtoken.c,
 * find_objects: "goto loser"). The standard has "the application [...] eventually call C_FindObjectsFinal to finish the
 * active search operation", and says nothing of a search that failed. */
void rule_find_02(struct check *check, const struct call *call)
{
  const struct finding_options caller = {.fault = FAULT_CALLER};
  const struct model_session *s = check->place.session;
  const struct model_search *q = model_search(s);
  if (!q || !q->active || !model_alone(s, call)) return;
  const bool close = call->known == P11_F_C_CloseSession;
  if (q->failed && call->rv == CKR_OPERATION_ACTIVE && !close && call->known != P11_F_C_FindObjectsFinal) {
    if (!model_removal(s->slot, call)) blocked(check, s, q);
  } else if (close && find_is_active(s)) {
    struct finding *f =
        finding_report_as(check, &caller, SEVERITY_INFO, 2, "a session is closed while a search of it is active");
    finding_note(f, &s->op[OP_FIND].begun, NULL);
    if (q->failed) finding_note(f, &q->failure, NULL);
    finding_call(f, check, NULL);
  } else if (call->known == P11_F_C_FindObjectsFinal && find_is_active(s) &&
             call->start > s->op[OP_FIND].begun.end + LONG) {
    struct finding *f =
        finding_report_as(check, &caller, SEVERITY_INFO, 3, "a search is kept active for more than a minute");
    finding_note(f, &s->op[OP_FIND].begun, NULL);
    finding_call(f, check, NULL);
  }
}
