/* Sessions. */
#include <inttypes.h>

#include "decoder/rules/rules.h"

static bool another_argument_is_null(const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++)
    if (pick_is_null(call, i)) return true;
  return false;
}

static bool may_answer(const struct call *call)
{
  switch (call->rv) {
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_CRYPTOKI_NOT_INITIALIZED: return true;
    case CKR_ARGUMENTS_BAD: return another_argument_is_null(call);
    case CKR_FUNCTION_NOT_PARALLEL:
      return call->known == P11_F_C_GetFunctionStatus || call->known == P11_F_C_CancelFunction;
    default: return false;
  }
}

/* FAQ, Q11: "A session handle of 0 is indeed invalid. In the past, NSS uses the invalid session handle to mark
 * problems with acquiring or using a session. There have been cases where NSS would then use this handle to try to
 * do some operation. PKCS #11 modules should fail with CKR_INVALID_SESSION." Today's NSS still does, after a
 * C_OpenSession that failed, and recovers only from CKR_SESSION_HANDLE_INVALID (pk11auth.c). */
void rule_sess_01(struct check *check, const struct call *call)
{
  const struct finding_options by_caller = {.fault = FAULT_CALLER, .no_slot = true}, by_module = {.no_slot = true};
  const int i = pick_kind(call, P11_K_SESSION);
  uint64_t session;
  char unknown[24];
  if (i < 0 || !pick_in(call, (unsigned)i, &session) || session) return;
  struct model_module *m = check->place.module;
  struct finding *f;
  if (!may_answer(call)) {
    f = finding_report_as(check, &by_module, SEVERITY_ERROR, (uint64_t)call->known,
                          "%s with session handle 0 returns %s instead of CKR_SESSION_HANDLE_INVALID", call->info->name,
                          note_rv(call->rv, unknown));
    finding_note(f, &m->session_failure, "the last time that there was no session");
    finding_call(f, check, NULL);
  }
  if (call->flags & P11T_PROBE) return;
  f = finding_report_as(check, &by_caller, SEVERITY_INFO, 0, "the application used the null session");
  finding_note(f, &m->session_failure, "the last time that there was no session");
  finding_caller(f, check);
}

/* FAQ, Q3: "NSS never uses Parallel mode." The standard, C_OpenSession: "the CKF_SERIAL_SESSION bit MUST always be
 * set; if a call to C_OpenSession does not have this bit set, the call should return unsuccessfully with the error
 * code CKR_SESSION_PARALLEL_NOT_SUPPORTED." Both sides are told. */
void rule_sess_03(struct check *check, const struct call *call)
{
  uint64_t flags;
  if (!pick_in(call, 1, &flags) || flags & CKF_SERIAL_SESSION) return;
  struct finding *f;
  if (call->rv == CKR_OK) {
    f = finding_report(check, SEVERITY_ERROR, 0, "C_OpenSession without CKF_SERIAL_SESSION succeeds");
    finding_call(f, check, NULL);
  }
  if (call->flags & P11T_PROBE) return;
  const struct finding_options by_caller = {.fault = FAULT_CALLER};
  f = finding_report_as(check, &by_caller, SEVERITY_ERROR, 0,
                        "the application opened a session without CKF_SERIAL_SESSION");
  finding_caller(f, check);
}
