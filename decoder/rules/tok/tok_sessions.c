/* How many sessions the token says it has room for. */
#include <inttypes.h>

#include "decoder/rules/rules.h"

enum { EARLY = 1, BEYOND, NO_RW, TOO_FEW, SMALL };
enum { A_FEW = 10, NSS_CACHES_FROM = 20 }; /* pk11slot.c, PK11_InitToken: disables its caches below */

/* Of a slot: what opens and closes sessions beside a call. */
struct traffic {
  unsigned opening;
  uint64_t over; /* LEAVE number of the last open or close that is over */
};
static const struct kept_type traffic_type = {sizeof(struct traffic), NULL};

static bool has_limit(uint64_t most)
{
  return most != CK_EFFECTIVELY_INFINITE && most != UINT64_MAX;
}

/* Sessions of the slot that are certainly open throughout the call: those that others work on may be closing. */
static unsigned surely_open(const struct model_slot *slot, const struct call *call)
{
  size_t at = 0;
  unsigned n = 0;
  for (const struct model_session *s; (s = table_next(&slot->module->sessions, &at));)
    n += s->slot == slot && s->opened.number && s->opened.end_number < call->number && !s->in_flight;
  return n;
}

/* No session of the slot was opened or closed at the same time. */
static bool quiet(const struct model_slot *slot, const struct call *call)
{
  const struct traffic *t = kept_get(slot->kept, &traffic_type);
  size_t at = 0;
  if (!t || t->opening || t->over > call->number || !model_settled(slot, call)) return false;
  for (const struct model_session *s; (s = table_next(&slot->module->sessions, &at));)
    if (s->slot == slot && s->in_flight) return false;
  return true;
}

static void refused(struct check *check, const struct call *call, const struct model_slot *slot, bool rw)
{
  const struct model_token *t = &slot->token;
  const uint64_t most = t->max_sessions, open = slot->sessions;
  const bool infinite = !has_limit(most);
  if (!quiet(slot, call)) return;
  if (rw && most == 1 && !open) {
    if (t->flags & CKF_WRITE_PROTECTED || call->rv == CKR_DEVICE_ERROR || call->rv == CKR_DEVICE_REMOVED ||
        call->rv == CKR_TOKEN_NOT_PRESENT || call->rv == CKR_TOKEN_NOT_RECOGNIZED || call->rv == CKR_HOST_MEMORY)
      return;
    char code[24];
    struct finding *f = finding_report(
        check, SEVERITY_WARNING, NO_RW,
        "the token has one session, can be written, and refuses that session read/write: %s", note_rv(call->rv, code));
    finding_note(f, &t->note, NULL);
    finding_call(f, check, NULL);
    return;
  }
  if (call->rv != CKR_SESSION_COUNT) return;
  if (infinite ? open >= A_FEW : open >= most) return;
  /* A read/write session beside a read-only one is NSS-SESS-06's. */
  if (rw && slot->sessions > slot->rw_sessions) return;
  if (rw && has_limit(t->max_rw_sessions) && slot->rw_sessions >= t->max_rw_sessions) return;
  /* Others have sessions too, where the token counts them. */
  const bool shared = t->sessions != UINT64_MAX && t->sessions > open;
  struct finding *f = finding_report(check, shared ? SEVERITY_INFO : SEVERITY_WARNING, EARLY,
                                     "C_OpenSession answers CKR_SESSION_COUNT with %" PRIu64 " sessions open", open);
  if (infinite)
    finding_note(f, &t->note, "ulMaxSessionCount tells no limit");
  else
    finding_note(f, &t->note, "ulMaxSessionCount=%" PRIu64, most);
  finding_call(f, check, NULL);
  if (shared)
    finding_hint(f, "the token counts %" PRIu64 " sessions: another program may have the others", t->sessions);
}

static void opened(struct check *check, const struct call *call, struct model_slot *slot)
{
  uint64_t flags;
  struct traffic *t = kept_make(&slot->kept, &traffic_type);
  if (t->opening) t->opening--;
  if (slot->token.known && pick_in(call, 1, &flags) && !model_removal(slot, call)) {
    const uint64_t most = slot->token.max_sessions;
    if (call->rv != CKR_OK) {
      refused(check, call, slot, flags & CKF_RW_SESSION);
    } else if (has_limit(most) && slot->sessions >= most && surely_open(slot, call) >= most) {
      struct finding *f = finding_report(check, SEVERITY_WARNING, BEYOND,
                                         "more sessions are open than ulMaxSessionCount=%" PRIu64 " allows", most);
      finding_note(f, &slot->token.note, NULL);
      finding_call(f, check, NULL);
    }
  }
  t->over = call->end_number;
}

static void told(struct check *check, const struct call *call, const struct model_slot *slot)
{
  struct model_token t;
  if (!model_token_info(call, &t)) return;
  if (has_limit(t.max_sessions) && t.max_sessions >= 2 && t.max_sessions < NSS_CACHES_FROM) {
    struct finding *f =
        finding_report(check, SEVERITY_INFO, SMALL,
                       "ulMaxSessionCount=%" PRIu64 ": NSS keeps no sessions and keys for later", t.max_sessions);
    finding_call(f, check, NULL);
  }
  if (t.sessions >= slot->sessions || model_removal(slot, call) || !model_settled(slot, call)) return;
  const unsigned open = surely_open(slot, call);
  if (t.sessions >= open) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, TOO_FEW,
                     "ulSessionCount=%" PRIu64 " while this program alone has %u sessions open", t.sessions, open);
  finding_call(f, check, NULL);
}

/* FAQ, Q3: "If no new sessions are available, the one read-only session is used, and the state is saved and restored after
 * each multipart operation."; "If your token is read/write and has only one session, NSS will open that one initial session
 * read/write." */
void rule_tok_08(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  if (!slot) return;
  if (check->starting) {
    if (call->known == P11_F_C_OpenSession) ((struct traffic *)kept_make(&slot->kept, &traffic_type))->opening++;
    return;
  }
  if (call->known == P11_F_C_OpenSession) {
    opened(check, call, slot);
  } else if (call->known == P11_F_C_GetTokenInfo) {
    told(check, call, slot);
  } else {
    struct traffic *t = kept_get(slot->kept, &traffic_type);
    if (t) t->over = call->end_number;
  }
}
