/* Handles that outlive what made them: another C_Initialize, a fork. */
#include <inttypes.h>

#include "decoder/rules/rules.h"

/* --- NSS-INIT-09 -------------------------------------------------------------------------------------------------- */

static void old_session(struct check *check, const struct model_gone *gone)
{
  struct model_module *m = check->place.module;
  struct model_slot *slot = model_slot(m, gone->slot);
  const struct finding_options o = {.cause = CAUSE_DEAD_SESSION, .slot = slot};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_ERROR, 1,
                        "session 0x%" PRIx64 " still works after C_Finalize and another C_Initialize", gone->handle);
  finding_note(f, &gone->made, NULL);
  finding_note(f, &gone->note, NULL);
  finding_note(f, &m->initialized, NULL);
  finding_call(f, check, "nothing has given out this handle since");
}

static void old_object(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  int i = pick_kind(call, P11_K_OBJECT);
  uint64_t handle;
  if (i < 0) i = pick_kind(call, P11_K_KEY);
  /* Of many objects some are forgotten. */
  if (i < 0 || !pick_in(call, (unsigned)i, &handle) || !handle || m->objects.count >= MODEL_OBJECTS) return;
  const struct model_gone *gone = model_gone_object(m, check->place.slot, handle);
  if (!gone || gone->why != GONE_FINALIZED) return;
  const struct finding_options o = {.cause = CAUSE_DEAD_OBJECT};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_WARNING, 2,
                        "object 0x%" PRIx64 " still works after C_Finalize and another C_Initialize", handle);
  finding_note(f, &gone->made, NULL);
  finding_note(f, &gone->note, NULL);
  finding_note(f, &m->initialized, NULL);
  finding_call(f, check, "nothing has given out this handle since");
}

/* FAQ, Q16: NSS looks "whether the open session associated with that card is still valid"; it keeps its session across
 * the C_Finalize and C_Initialize by which it ends a wait (pk11util.c, SECMOD_CancelWait), and asks C_GetSessionInfo
 * whether it is still good (pk11slot.c). That a new handle has an old number is legal, and not told. An object of the
 * token may well have a number for life: its handle is a warning only. */
void rule_init_09(struct check *check, const struct call *call)
{
  const struct model_module *m = check->place.module;
  if (call->rv != CKR_OK || !m->finalized.number || m->epoch != EPOCH_OPEN || !m->initialized.number) return;
  if (m->changing || m->changed > call->number) return;
  if (check->place.session) {
    if (!check->place.object) old_object(check, call);
    return;
  }
  const int i = pick_kind(call, P11_K_SESSION);
  uint64_t handle;
  if (i < 0 || !pick_in(call, (unsigned)i, &handle)) return;
  const struct model_gone *gone = model_gone_session(m, handle);
  if (gone && gone->why == GONE_FINALIZED) old_session(check, gone);
}

/* --- P11-INIT-10 -------------------------------------------------------------------------------------------------- */

struct forked {
  bool safe;           /* an interface with CKF_INTERFACE_FORK_SAFE was handed out */
  bool used, answered; /* told: the child's first call, and the first that succeeded */
};
static const struct kept_type forked_type = {sizeof(struct forked), NULL};

static bool is_exempt(int function)
{
  switch (function) {
    case P11_F_C_GetFunctionList:
    case P11_F_C_GetInterfaceList:
    case P11_F_C_GetInterface:
    case P11_F_C_Initialize:
    case P11_F_C_Finalize: return true; /* NSS finalises what it has inherited: SECMOD_RestartModules */
    default: return false;
  }
}

/* The standard (user guide, "fork"): a child "should call C_Initialize"; what it has inherited is not its own. NSS
 * restarts its modules in a child (pk11util.c, SECMOD_RestartModules), and asks for an interface that says that it
 * bears a fork. */
void rule_init_10(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  if (!call) {
    if (check->event->list.flags & CKF_INTERFACE_FORK_SAFE)
      ((struct forked *)kept_make(&m->kept, &forked_type))->safe = true;
    return;
  }
  if (!check->place.process->child || is_exempt(call->known)) return;
  struct forked *forked = kept_make(&m->kept, &forked_type);
  if (forked->safe) return;
  const struct finding_options by_module = {.no_slot = true}, by_caller = {.no_slot = true, .fault = FAULT_CALLER};
  struct finding *f;
  if (call->rv == CKR_OK && !forked->answered) {
    forked->answered = true;
    f = finding_report_as(check, &by_module, SEVERITY_WARNING, 1,
                          "%s succeeds in a forked child that has not called C_Initialize", call->info->name);
    finding_call(f, check, "child of process %" PRIu32, check->event->process->parent_pid);
    finding_hint_proxy(f, check);
  }
  if (forked->used) return;
  forked->used = true;
  f = finding_report_as(check, &by_caller, SEVERITY_INFO, 1,
                        "a forked child uses the module before it calls C_Initialize");
  finding_call(f, check, "child of process %" PRIu32, check->event->process->parent_pid);
}
