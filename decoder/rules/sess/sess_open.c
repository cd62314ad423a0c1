/* Opening sessions: read/write ones beside read-only ones, with a callback. */
#include <inttypes.h>

#include "decoder/read/cursor.h"
#include "decoder/rules/rules.h"

/* A limit that CK_TOKEN_INFO reports; UINT64_MAX: none, or not known. */
static uint64_t limit_of(uint64_t reported)
{
  return reported == CK_EFFECTIVELY_INFINITE || reported == CK_UNAVAILABLE_INFORMATION ? UINT64_MAX : reported;
}

static bool another_reason(const struct call *call, uint64_t flags)
{
  switch (call->rv) {
    case CKR_OK:
    case CKR_ARGUMENTS_BAD:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_MEMORY:
    case CKR_DEVICE_REMOVED:
    case CKR_HOST_MEMORY:
    case CKR_SLOT_ID_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_TOKEN_WRITE_PROTECTED: return true;
    case CKR_SESSION_PARALLEL_NOT_SUPPORTED: return !(flags & CKF_SERIAL_SESSION);
    case CKR_SESSION_ASYNC_NOT_SUPPORTED: return flags & CKF_ASYNC_SESSION;
    default: return false;
  }
}

/* FAQ, Q3: "NSS opens new read/write sessions for key generation, some password management, and storage of new
 * certificates", beside the read-only session that it holds (pk11slot.c, PK11_GetRWSession). */
void rule_sess_06(struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  uint64_t flags;
  char unknown[24];
  if (!slot || !pick_in(call, 1, &flags) || !(flags & CKF_RW_SESSION) || another_reason(call, flags)) return;
  const struct model_token *t = &slot->token;
  if (!t->known || t->flags & CKF_WRITE_PROTECTED || slot->sessions <= slot->rw_sessions) return;
  const uint64_t all = limit_of(t->max_sessions), rw = limit_of(t->max_rw_sessions);
  if (slot->sessions >= all || slot->rw_sessions >= rw) return;
  if (!model_settled(slot, call) || model_removal(slot, call)) return;
  /* Sessions of other programs count against a limit. */
  const bool shared = call->rv == CKR_SESSION_COUNT && (all != UINT64_MAX || rw != UINT64_MAX);
  struct finding *f =
      finding_report(check, shared ? SEVERITY_WARNING : SEVERITY_ERROR, call->rv,
                     "a read/write session is refused with %s beside %u read-only and %u read/write ones",
                     note_rv(call->rv, unknown), slot->sessions - slot->rw_sessions, slot->rw_sessions);
  finding_note(f, &t->note, NULL);
  finding_call(f, check, NULL);
  if (shared) finding_hint(f, "other programs may have the sessions that the token allows");
}

#define TOO_LONG 100000000ull /* ns */

/* Per module: the Notify that is under way. */
struct notifying {
  uint64_t session, since;
};
static const struct kept_type notifying = {sizeof(struct notifying), NULL};

static void called_back(struct check *check)
{
  struct model_module *m = check->place.module;
  struct cursor c = cursor_of(check->event->marker.body, check->event->marker.length);
  const uint64_t what = get_n(&c), module = get_n(&c), handle = get_u(&c), event = get_u(&c);
  if (c.bad || module != m->id) return;
  const struct model_session *s = model_session(m, handle);
  const struct finding_options o = {.slot = s ? s->slot : NULL, .no_slot = !s};
  struct notifying *n = kept_make(&m->kept, &notifying);
  struct finding *f = NULL;
  if (what == P11T_CALLBACK_BEGINS) {
    const char *name = p11_constant_name(P11_DOM_CKN, event);
    *n = (struct notifying){handle, check->event->time};
    f = finding_report_as(check, &o, SEVERITY_INFO, event + 10, "the module calls the application's Notify: %s",
                          name ? name : "an event of its own");
  } else if (what == P11T_CALLBACK_ENDS && n->session == handle && n->since &&
             check->event->time > n->since + TOO_LONG) {
    f = finding_report_as(check, &o, SEVERITY_WARNING, 2, "Notify returns after %" PRIu64 " ms",
                          (check->event->time - n->since) / 1000000);
  }
  if (s) finding_note(f, &s->opened, "gave the callback");
}

/* FAQ, Q16: "NSS does not currently use any of the callbacks." It passes one all the same, which answers CKR_OK to
 * everything (pk11slot.c, pk11_notify). */
void rule_sess_12(struct check *check, const struct call *call)
{
  char unknown[24];
  uint64_t flags;
  if (!call) {
    if (check->event->marker.kind == P11T_CALLBACK) called_back(check);
    return;
  }
  const struct value *notify = &call->arg[3].in;
  if (call->rv != CKR_ARGUMENTS_BAD && call->rv != CKR_FUNCTION_NOT_SUPPORTED) return;
  if (notify->what == VALUE_NONE || notify->pointer == P11T_P_NULL || pick_is_null(call, 4)) return;
  if (!pick_in(call, 1, &flags) || !(flags & CKF_SERIAL_SESSION)) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, 1, "C_OpenSession with a Notify callback fails with %s",
                                     note_rv(call->rv, unknown));
  finding_call(f, check, "Notify is not NULL");
}
