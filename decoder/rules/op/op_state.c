/* Operations begin with their Init, and end when they must. */
#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

/* Answers that go before "there is no operation", or say that there is nothing to answer with. */
static bool goes_before(uint64_t rv)
{
  switch (rv) {
    case CKR_OPERATION_NOT_INITIALIZED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_ARGUMENTS_BAD:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_DEVICE_REMOVED:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_MEMORY:
    case CKR_HOST_MEMORY:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_PENDING: return true;
    default: return false;
  }
}

/* How the last operation of the kind went, or that there was none. */
static void history(struct finding *f, const struct model_session *s, const struct model_operation *op)
{
  if (!op->last.number) {
    finding_note(f, &s->opened, "nothing of that kind was begun since");
    return;
  }
  finding_note(f, &op->begun, NULL);
  if (op->last.number != op->begun.number) finding_note(f, &op->last, "ended it");
}

static bool ended_by_error(const struct model_operation *op)
{
  return op->last.number && op->last.rv != CKR_OK && op->last.rv != CKR_OPERATION_NOT_INITIALIZED;
}

static void without(struct check *check, const struct call *call, enum model_op kind)
{
  const struct model_session *s = check->place.session;
  const struct model_operation *op = &s->op[kind];
  const enum model_step step = model_step_of(call->known);
  char unknown[24];
  struct finding *f = NULL;
  if (call->rv == CKR_OK && !ended_by_error(op)) /* else P11-OP-02 speaks */
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)call->known, "%s succeeds although no %s is active",
                       call->info->name, model_op_name(kind));
  if (call->rv != CKR_OK && !goes_before(call->rv))
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)call->known,
                       "%s without an active %s returns %s instead of CKR_OPERATION_NOT_INITIALIZED", call->info->name,
                       model_op_name(kind), note_rv(call->rv, unknown));
  history(f, s, op);
  finding_call(f, check, NULL);
  /* NSS ends contexts that may be idle, and takes CKR_OPERATION_NOT_INITIALIZED for done (pk11cxt.c, pk11_Finalize). */
  if (step == STEP_FINAL || call_is_probe(call)) return;
  const struct finding_options by_caller = {.fault = FAULT_CALLER};
  f = finding_report_as(check, &by_caller, SEVERITY_WARNING, (uint64_t)call->known,
                        "the application calls %s, and no %s is active", call->info->name, model_op_name(kind));
  history(f, s, op);
  finding_caller(f, check);
}

static void mixed(struct check *check, const struct call *call, enum model_op kind)
{
  const struct model_operation *op = &check->place.session->op[kind];
  struct finding *f = NULL;
  if (call->rv == CKR_OK)
    f = finding_report(check, SEVERITY_WARNING, (uint64_t)call->known, "%s succeeds while a multi-part %s is active",
                       call->info->name, model_op_name(kind));
  finding_note(f, &op->begun, NULL);
  finding_note(f, &op->last, NULL);
  finding_call(f, check, NULL);
  if (call_is_probe(call)) return;
  const struct finding_options by_caller = {.fault = FAULT_CALLER};
  f = finding_report_as(check, &by_caller, SEVERITY_ERROR, (uint64_t)call->known,
                        "the application calls %s while a multi-part %s is active", call->info->name,
                        model_op_name(kind));
  finding_note(f, &op->begun, NULL);
  finding_note(f, &op->last, NULL);
  finding_caller(f, check);
}

/* The standard, CKR_OPERATION_NOT_INITIALIZED: "an application cannot call C_Encrypt in a session without having
 * called C_EncryptInit first"; C_Sign: "MUST be called after C_SignInit without intervening C_SignUpdate calls". NSS
 * relies on that code when it cleans up. */
void rule_op_01(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const enum model_step step = model_step_of(call->known);
  int op[2];
  if (!s || step == STEP_INIT) return;
  const unsigned count = model_ops_of(call->known, op);
  if (!count || op[0] == OP_FIND) return; /* P11-FIND-01 */
  for (unsigned i = 0; i < count; i++) {
    const uint8_t state = s->op[op[i]].state;
    const bool misses = state == OP_NONE, mixes = step == STEP_WHOLE && state == OP_UPDATING;
    if ((!misses && !mixes) || !model_alone(s, call) || model_removal(s->slot, call)) continue;
    (misses ? without : mixed)(check, call, (enum model_op)op[i]);
    return;
  }
}

/* The operation that ended last: it is the one that may have been left behind. */
static const struct model_operation *last_ended(const struct model_session *s)
{
  const struct model_operation *last = &s->op[0];
  for (int i = 1; i < OP_KINDS; i++)
    if (s->op[i].last.end_number > last->last.end_number) last = &s->op[i];
  return last;
}

static void leaked(struct check *check, const struct call *call)
{
  const struct finding_options o = {.cause = CAUSE_ACTIVE};
  const struct model_session *s = check->place.session;
  if (!model_idle(s) || !model_alone(s, call) || model_removal(s->slot, call)) return;
  const struct model_operation *op = last_ended(s);
  const uint64_t key = (uint64_t)model_op_of(call->known);
  struct finding *f;
  if (op->last.number)
    f = finding_report_as(check, &o, SEVERITY_ERROR, key,
                          "%s returns CKR_OPERATION_ACTIVE although %s has ended the operation before",
                          call->info->name, op->last.known >= 0 ? p11_functions[op->last.known].name : "a call");
  else
    f = finding_report_as(check, &o, SEVERITY_ERROR, key,
                          "%s returns CKR_OPERATION_ACTIVE although nothing was begun in the session",
                          call->info->name);
  history(f, s, op);
  finding_call(f, check, NULL);
}

static void replaced(struct check *check, const struct call *call, const struct model_operation *op)
{
  if (!model_active(op) || !model_begins(call)) return;
  if (!model_alone(check->place.session, call)) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, (uint64_t)call->known,
                     "%s succeeds while an operation of that kind is active, and replaces it", call->info->name);
  finding_note(f, &op->begun, NULL);
  if (op->last.number != op->begun.number) finding_note(f, &op->last, NULL);
  finding_call(f, check, NULL);
}

static void survived(struct check *check, const struct call *call, const struct model_operation *op)
{
  if (op->state != OP_NONE || !ended_by_error(op) || !model_alone(check->place.session, call)) return;
  char unknown[24];
  struct finding *f = finding_report(check, SEVERITY_WARNING, (uint64_t)call->known,
                                     "%s succeeds although the operation has ended with %s", call->info->name,
                                     note_rv(op->last.rv, unknown));
  finding_note(f, &op->begun, NULL);
  finding_note(f, &op->last, "ended it");
  finding_call(f, check, NULL);
}

/* The standard, C_Sign: "always terminates the active signing operation unless it returns CKR_BUFFER_TOO_SMALL or is a
 * successful call [...] to determine the length of the buffer"; C_SignUpdate: "which results in an error terminates the
 * current signature operation". NSS has no way out of CKR_OPERATION_ACTIVE (pk11err.c: SEC_ERROR_LIBRARY_FAILURE). */
void rule_op_02(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const int kind = model_op_of(call->known);
  if (!s || kind <= OP_FIND) return;
  if (model_step_of(call->known) == STEP_INIT) {
    if (call->rv == CKR_OPERATION_ACTIVE) leaked(check, call);
    if (call->rv == CKR_OK) replaced(check, call, &s->op[kind]);
  } else if (call->rv == CKR_OK) {
    survived(check, call, &s->op[kind]);
  }
}
