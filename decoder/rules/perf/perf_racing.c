/* Failures that need two calls at once. */
#include <inttypes.h>

#include "decoder/model/operation.h"
#include "decoder/rules/perf/perf_help.h"

#define FAILING 8 /* functions whose failures are remembered */

struct racing {
  bool locks; /* C_Initialize asked for locks, and got them */
  struct {
    uint32_t alone, together;     /* calls that succeeded */
    uint16_t failed_alone, entry; /* entry + 1 in failing[], 0 none */
  } of[P11_FUNCTIONS];
  struct {
    int function;
    uint64_t count;
    struct note note[THRICE]; /* the first ones */
  } failing[FAILING];
  unsigned failings;
};
static const struct kept_type racing = {sizeof(struct racing), NULL};

static void initialized(const struct call *call, struct racing *r)
{
  const struct value *args = &call->arg[0].in;
  if (call->rv != CKR_OK) return;
  r->locks = args->what == VALUE_INIT_ARGS && args->pointer != P11T_P_NULL &&
             (args->number & CKF_OS_LOCKING_OK || args->length);
}

/* Codes that a module without locks gives, where nothing else in the trace explains them. */
static bool odd(const struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const int op = model_op_of(call->known);
  switch (call->rv) {
    case CKR_GENERAL_ERROR:
    case CKR_DEVICE_ERROR:
    case CKR_FUNCTION_FAILED: return true;
    case CKR_SESSION_HANDLE_INVALID: return s && s->opened.number && !s->lost;
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_KEY_HANDLE_INVALID:
      return check->place.object && !check->place.module->making && check->place.module->made < call->number;
    case CKR_OPERATION_ACTIVE: return s && op >= 0 && s->op[op].state == OP_NONE;
    case CKR_OPERATION_NOT_INITIALIZED: return s && op >= 0 && model_active(&s->op[op]);
    default: return false;
  }
}

static void failed(struct check *check, const struct call *call, struct racing *r)
{
  const struct model_slot *slot = check->place.slot;
  if (!odd(check, call) || perf_disturbed(check, call)) return;
  /* Two threads in one session are the caller's fault (NSS-SESS-05); so is a session that another thread closes. */
  if (check->place.session && !model_alone(check->place.session, call)) return;
  if (slot && !model_settled(slot, call)) return;
  if (!model_overlapped(check->place.module, call)) {
    r->of[call->known].failed_alone = 1;
    return;
  }
  if (!r->of[call->known].entry) {
    if (r->failings == FAILING) return;
    r->failing[r->failings].function = call->known;
    r->of[call->known].entry = (uint16_t)++r->failings;
  }
  const unsigned i = r->of[call->known].entry - 1u;
  if (r->failing[i].count < THRICE) model_note(&check->place, &r->failing[i].note[r->failing[i].count], call);
  r->failing[i].count++;
}

static void judge(struct check *check, const struct racing *r)
{
  for (unsigned i = 0; i < r->failings; i++) {
    const int function = r->failing[i].function;
    if (r->failing[i].count < THRICE || r->of[function].failed_alone || r->of[function].alone < THRICE) continue;
    char code[24];
    const struct finding_options o = {.no_slot = true};
    struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, (uint64_t)function,
                                          "%s fails only while another call is at work: %" PRIu64 " of %" PRIu64
                                          " calls, and none of %" PRIu32 " alone (%s)",
                                          p11_functions[function].name, r->failing[i].count,
                                          r->failing[i].count + r->of[function].together, r->of[function].alone,
                                          note_rv(r->failing[i].note[0].rv, code));
    for (int k = 0; k < THRICE; k++) finding_note(f, &r->failing[i].note[k], NULL);
  }
}

/* FAQ, Q19: "multiple threads may call the same session, but two threads will not call the same session at the same
 * time." NSS asks for the operating system's locks at C_Initialize (pk11load.c), and lets threads call in different
 * sessions at once. */
void rule_perf_03(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  if (!call) {
    const struct racing *r = kept_get(m->kept, &racing);
    if (check->event->type == EVENT_MARKER)
      perf_marker(check);
    else if (r)
      judge(check, r);
    return;
  }
  struct racing *r = kept_make(&m->kept, &racing);
  if (call->known == P11_F_C_Initialize) initialized(call, r);
  if (!r->locks) return;
  if (call->rv != CKR_OK)
    failed(check, call, r);
  else if (model_overlapped(m, call))
    r->of[call->known].together++;
  else
    r->of[call->known].alone++;
}
