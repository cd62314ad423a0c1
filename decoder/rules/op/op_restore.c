/* One session for several operations: C_GetOperationState and C_SetOperationState. */
#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

#define BLOBS 8

/* Per slot. */
struct multiplexing {
  struct note failed; /* C_OpenSession that failed, and none has succeeded since; empty: sessions are to be had */
  struct note saved;  /* the last C_GetOperationState that gave a state */
  uint64_t session;   /*   of that session */
  struct {
    uint64_t length, value;
    struct note note;
  } blob[BLOBS]; /* a ring */
  unsigned blobs;
};
static const struct kept_type multiplexing = {sizeof(struct multiplexing), NULL};

static bool blob_of(const struct value *v, uint64_t *length, uint64_t *value)
{
  if (v->what != VALUE_BYTES || !v->length) return false;
  *length = v->length;
  if (value_is_tagged(v))
    *value = v->number;
  else if (v->form == P11T_V_FULL && v->kept == v->length)
    *value = pick_hash(v->bytes, v->kept);
  else
    return false;
  return true;
}

static void opened(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (!slot || (call->rv == CKR_OK && !kept_get(slot->kept, &multiplexing))) return;
  struct multiplexing *m = kept_make(&slot->kept, &multiplexing);
  if (call->rv == CKR_OK)
    m->failed = (struct note){0};
  else if (slot->sessions)
    model_note(&check->place, &m->failed, call);
}

/* The operation that is at work in the session: what NSS wants to put away. */
static const struct model_operation *at_work(const struct model_session *s)
{
  for (int i = OP_ENCRYPT; i < OP_KINDS; i++)
    if (model_active(&s->op[i])) return &s->op[i];
  return NULL;
}

static bool says_it_cannot(uint64_t rv)
{
  switch (rv) {
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_STATE_UNSAVEABLE:
    case CKR_FUNCTION_FAILED:
    case CKR_GENERAL_ERROR:
    case CKR_OPERATION_ACTIVE: return true;
    default: return rv >= CKR_VENDOR_DEFINED;
  }
}

static void get(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  char unknown[24];
  uint64_t length, value;
  struct multiplexing *m;
  if (call->rv == CKR_OK) {
    if (!blob_of(&call->arg[1].out, &length, &value)) return;
    m = kept_make(&s->slot->kept, &multiplexing);
    model_note(&check->place, &m->saved, call);
    m->session = s->handle;
    m->blob[m->blobs % BLOBS].length = length;
    m->blob[m->blobs % BLOBS].value = value;
    m->blob[m->blobs++ % BLOBS].note = m->saved;
    return;
  }
  m = kept_get(s->slot->kept, &multiplexing);
  const struct model_operation *op = at_work(s);
  if (!m || !m->failed.number || !op || op->begun.number < m->failed.end_number || !says_it_cannot(call->rv)) return;
  struct finding *f = finding_report(
      check, SEVERITY_ERROR, 1,
      "no more session can be had, and C_GetOperationState returns %s: a token with few sessions cannot do "
      "several operations at once",
      note_rv(call->rv, unknown));
  finding_note(f, &m->failed, NULL);
  finding_note(f, &op->begun, NULL);
  finding_call(f, check, NULL);
}

static void set(struct check *check, const struct call *call)
{
  const struct multiplexing *m = kept_get(check->place.slot->kept, &multiplexing);
  uint64_t length, value;
  char unknown[24];
  if (!m || (call->rv != CKR_OPERATION_ACTIVE && call->rv != CKR_SAVED_STATE_INVALID)) return;
  if (!blob_of(&call->arg[1].in, &length, &value)) return;
  for (unsigned i = 0; i < BLOBS; i++) {
    if (m->blob[i].length != length || m->blob[i].value != value) continue;
    struct finding *f = finding_report(check, SEVERITY_ERROR, 2,
                                       "C_SetOperationState returns %s for a state that C_GetOperationState gave",
                                       note_rv(call->rv, unknown));
    finding_note(f, &m->blob[i].note, NULL);
    finding_call(f, check, NULL);
    return;
  }
}

/* NSS's own part: pk11_Finalize leaves the operation of a session that is not the context's own. */
static void left_active(struct check *check, const struct call *call)
{
  const struct finding_options by_caller = {.fault = FAULT_CALLER, .cause = CAUSE_ACTIVE};
  const struct model_session *s = check->place.session;
  const struct multiplexing *m = kept_get(s->slot->kept, &multiplexing);
  const struct model_operation *op = at_work(s);
  if (!m || !m->failed.number || !op || m->session != s->handle || m->saved.number < op->begun.number) return;
  if (!model_alone(s, call)) return;
  struct finding *f =
      finding_report_as(check, &by_caller, SEVERITY_WARNING, 0,
                        "the application saved an operation, left it active and begins another: a defect "
                        "of NSS that shows when sessions run out");
  finding_note(f, &m->failed, NULL);
  finding_note(f, &op->begun, NULL);
  finding_note(f, &m->saved, NULL);
  finding_caller(f, check);
}

/* FAQ, Q3: "If no new sessions are available, the one read-only session is used, and the state is saved and restored
 * after each multipart operation." The standard, C_SetOperationState: "can successfully restore cryptographic
 * operations state to a session even if that session has active cryptographic or object search operations". */
void rule_op_06(struct check *check, const struct call *call)
{
  if (call->known == P11_F_C_OpenSession) {
    opened(check, call);
    return;
  }
  if (!check->place.session || model_removal(check->place.slot, call)) return;
  if (call->known == P11_F_C_GetOperationState)
    get(check, call);
  else if (call->known == P11_F_C_SetOperationState)
    set(check, call);
  else if (call->rv == CKR_OPERATION_ACTIVE)
    left_active(check, call);
}
