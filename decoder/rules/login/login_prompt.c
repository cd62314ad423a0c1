/* How often the user is asked. */
#include "decoder/model/serial.h"
#include "decoder/rules/login/login_help.h"

#include <inttypes.h>
#include <string.h>

#define STORM (60 * SECOND)
#define ROUND (10 * SECOND)

enum { LOGINS = 3 };

/* What the rule finds: the key of the finding. */
enum { STORM_CALLER = 1, STORM_MODULE, TWO_THREADS, MANY_TOKENS, SESSION_GONE, OTHERS_WAIT };

/* Of a slot: the last logins that succeeded with nothing between that needs another one, the newest last. */
struct prompts {
  struct note login[LOGINS], before[LOGINS]; /* before: C_GetSessionInfo said then that nobody is logged in; or empty */
  unsigned logins;
  struct note told; /* that since the last login */
  bool believed;    /* C_GetSessionInfo has reported the user after one of them */
  struct note last; /* the last C_Login(CKU_USER), whatever its answer */
};
static const struct kept_type prompts_type = {sizeof(struct prompts), NULL};

/* Of a module: the last logins to different tokens, and those on a session that was gone. */
struct round {
  struct note login[LOGINS];
  uint64_t slot[LOGINS];
  unsigned logins;
  struct note lost[LOGINS];
  unsigned losses;
};
static const struct kept_type round_type = {sizeof(struct round), NULL};

/* NSS's policies "every time" and "after x minutes" log out first, and so does the password change (pk11auth.c,
 * PK11_HandlePasswordCheck and PK11_CheckUserPassword): another login is right then, as it is after the last close. */
static bool excused(const struct model_slot *slot, const struct prompts *p, const struct call *call)
{
  const struct note *login = &p->login[p->logins - 1];
  if (slot->last.pin.number > login->number || slot->gone.number > login->number) return true;
  return !model_settled(slot, call) || !model_login_still(slot, p->last.end_number + 1);
}

static void push(struct note *ring, unsigned *count, const struct note *note)
{
  if (*count == LOGINS) {
    memmove(ring, ring + 1, (LOGINS - 1) * sizeof *ring);
    --*count;
  }
  ring[(*count)++] = *note;
}

/* The application has a reason when it was told that nobody is logged in. Where no login at all was shown that is
 * NSS-LOGIN-09, which counts the prompts itself. */
static void storm(struct check *check, struct model_slot *slot, const struct prompts *p)
{
  const bool told = p->before[1].number && p->before[2].number;
  if (told && !p->believed) return;
  const struct finding_options o = {.fault = told ? FAULT_MODULE : FAULT_CALLER, .slot = slot};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_WARNING, told ? STORM_MODULE : STORM_CALLER,
                        told ? "the user logs in %d times within a minute: each time C_GetSessionInfo had reported the "
                               "token logged out"
                             : "the application logs in %d times within a minute, and nothing asks for it",
                        LOGINS);
  for (int i = 0; i < LOGINS; i++) {
    if (i && told) finding_note(f, &p->before[i], "the reason to ask again");
    finding_note(f, &p->login[i], NULL);
  }
}

static void one_more(const struct call *call, struct model_slot *slot, struct prompts *p, struct check *check,
                     const struct note *now)
{
  if (!model_settled(slot, call)) return;
  if (!p->logins) p->believed = false;
  unsigned count = p->logins;
  push(p->before, &count, p->logins ? &p->told : &(struct note){0});
  push(p->login, &p->logins, now);
  p->told = (struct note){0};
  if (p->logins == LOGINS && now->start < p->login[0].start + STORM) storm(check, slot, p);
}

/* Two prompts on the screen: only where each takes as long as a user does. */
static void at_once(struct check *check, const struct call *call, const struct note *other)
{
  if (!other->number || call->number > other->end_number || other->tid == call->tid) return;
  const uint64_t from = call->start > other->start ? call->start : other->start;
  if (other->end < from + SECOND) return;
  const struct finding_options o = {.fault = FAULT_CALLER};
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, TWO_THREADS,
                                        "two threads log in to one token at the same time: the user is asked twice");
  const bool first = other->number < call->number;
  if (first) finding_note(f, other, NULL);
  finding_call(f, check, NULL);
  if (!first) finding_note(f, other, NULL);
}

/* While the dialog is open another thread finds that a login is needed: Firefox cancels its prompt. */
static void others_wait(struct check *check, const struct call *call, const struct model_slot *slot)
{
  const struct note *seen = &slot->last.public_seen;
  if (seen->number < call->number || seen->tid == call->tid || call->end < call->start + SECOND) return;
  const struct finding_options o = {.fault = FAULT_CALLER};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_INFO, OTHERS_WAIT,
                        "while the user is asked for the PIN another thread finds the token logged out");
  finding_call(f, check, NULL);
  finding_note(f, seen, "its own prompt would be cancelled");
}

static void reported(struct check *check, const struct call *call, struct model_slot *slot)
{
  struct prompts *p = kept_get(slot->kept, &prompts_type);
  const unsigned state = p && p->logins ? login_reported(call) : 0;
  if (!state || call->number < p->login[p->logins - 1].end_number) return;
  if (state == LOGIN_USER) p->believed = true;
  if (state != LOGIN_PUBLIC || p->told.number || excused(slot, p, call) || model_removal(slot, call)) return;
  model_note(&check->place, &p->told, call);
}

static bool one_card(struct model_module *m, const struct round *r)
{
  const struct model_token *a = &model_slot(m, r->slot[0])->token, *b = &model_slot(m, r->slot[1])->token;
  return a->known && b->known && serial_tells(a->serial) && !strcmp(a->serial, b->serial);
}

/* One PIN after the other: NSS visits token after token when it must log in to see certificates, and a card that shows each
 * of its PINs as a token of its own is asked for all of them. */
static void next_token(struct check *check, const struct call *call, struct model_slot *slot, const struct note *now)
{
  struct model_module *m = check->place.module;
  struct round *r = kept_make(&m->kept, &round_type);
  for (unsigned i = 0; i < r->logins; i++)
    if (r->slot[i] == slot->id || r->login[i].tid != call->tid || call->start > r->login[i].start + ROUND) {
      r->logins = 0;
      break;
    }
  r->slot[r->logins] = slot->id;
  r->login[r->logins++] = *now;
  if (r->logins < 2) return;
  const bool card = one_card(m, r);
  if (!card && r->logins < LOGINS) return;
  const struct finding_options o = {.fault = FAULT_CALLER, .no_slot = true};
  struct finding *f = finding_report_as(check, &o, SEVERITY_INFO, MANY_TOKENS,
                                        card ? "the user logs in to %u tokens that are one card, one after the other"
                                             : "the user logs in to %u tokens one after the other, within ten seconds",
                                        r->logins);
  for (unsigned i = 0; i < r->logins; i++) finding_note(f, &r->login[i], NULL);
  if (r->logins == LOGINS) r->logins = 0;
}

/* The PIN was entered for nothing: NSS goes on with a session that went with the card. */
static void session_gone(struct check *check, const struct note *now)
{
  struct round *r = kept_make(&check->place.module->kept, &round_type);
  push(r->lost, &r->losses, now);
  if (r->losses < LOGINS || now->start > r->lost[0].start + STORM) return;
  const struct finding_options o = {.fault = FAULT_CALLER, .no_slot = true};
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_WARNING, SESSION_GONE,
                        "the application logs in %d times within a minute on sessions that are gone", LOGINS);
  for (int i = 0; i < LOGINS; i++) finding_note(f, &r->lost[i], NULL);
}

/* FAQ, Q10: "Not doing so is a common source of problems": each C_Login is a PIN that the user enters. A second prompt while
 * one is on the screen is cancelled (nsNSSCallbacks.cpp, PK11PasswordPromptRunnable), and what waits for it fails. */
void rule_login_12(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  struct note now;
  if (call->known == P11_F_C_GetSessionInfo) {
    if (slot) reported(check, call, slot);
    return;
  }
  if (!login_is(call, CKU_USER)) return;
  model_note(&check->place, &now, call);
  if (call->rv == CKR_SESSION_HANDLE_INVALID || call->rv == CKR_DEVICE_REMOVED) {
    session_gone(check, &now);
    return;
  }
  /* Where no login is needed it is no prompt. */
  if (!slot || (slot->token.known && !(slot->token.flags & CKF_LOGIN_REQUIRED))) return;
  struct prompts *p = kept_make(&slot->kept, &prompts_type);
  if (p->logins && excused(slot, p, call)) p->logins = 0; /* while p->last is the one before */
  at_once(check, call, &p->last);
  others_wait(check, call, slot);
  if (call->rv == CKR_OK || call->rv == CKR_USER_ALREADY_LOGGED_IN) one_more(call, slot, p, check, &now);
  p->last = now;
  if (call->rv == CKR_OK) next_token(check, call, slot, &now);
}
