/* Calls that did not return, or not in time. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "decoder/rules/rules.h"

#define SECOND 1000000000ull

/* How long a call may take, ns; 0: as long as it likes. Somebody may be typing a PIN at the reader, and a card takes minutes
 * for a large key. */
static uint64_t limit(const struct call *call)
{
  uint64_t flags;
  switch (call->known) {
    case P11_F_C_WaitForSlotEvent: return pick_in(call, 0, &flags) && flags & CKF_DONT_BLOCK ? 30 * SECOND : 0;
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
    case P11_F_C_SetPIN:
    case P11_F_C_InitPIN:
    case P11_F_C_InitToken:
    case P11_F_C_GenerateKey:
    case P11_F_C_GenerateKeyPair: return 300 * SECOND;
    default: return 30 * SECOND;
  }
}

static uint64_t seconds(uint64_t ns)
{
  return ns / SECOND;
}

/* Signals that a program gives itself by a fault; others came from outside. */
static bool crashed(const struct process *p)
{
  switch (p->signal) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGABRT: return true;
    default: return false;
  }
}

static void too_long(struct check *check, const struct call *call, uint64_t took)
{
  struct finding *f = finding_report(check, SEVERITY_WARNING, (uint64_t)call->known, "%s takes %" PRIu64 " s",
                                     p11_functions[call->known].name, seconds(took));
  finding_call(f, check, NULL);
  finding_hint(f, "a debugger, or a machine that was stopped");
}

static void hangs(struct check *check, const struct call *call, uint64_t age)
{
  struct finding *f = finding_report(check, SEVERITY_ERROR, P11_FUNCTIONS + (uint64_t)call->known,
                                     "%s does not return: the trace ends %" PRIu64 " s after it began",
                                     p11_functions[call->known].name, seconds(age));
  finding_call(
      f, check,
      check->place.module->active ? "other calls are in the module as well: perhaps they wait for each other" : NULL);
}

static void ends_inside(struct check *check, const struct call *call)
{
  const struct process *p = check->event->process;
  const char *name = p11_functions[call->known].name;
  struct finding *f;
  if (crashed(p)) {
    f = finding_report(check, SEVERITY_ERROR, 2 * P11_FUNCTIONS + (uint64_t)call->known,
                       "the process is ended by SIG%s in %s", sigabbrev_np(p->signal), name);
  } else {
    f = finding_report(check, SEVERITY_INFO, 3 * P11_FUNCTIONS + (uint64_t)call->known,
                       "the process ends while %s is at work", name);
    finding_hint(f, "that it was killed, or crashed: `p11trace run` sees the signal");
  }
  finding_call(f, check, NULL);
}

/* impl and NSS: pk11slot.c holds the slot's lock during the call, and devslot.c lets all threads wait for the one that looks
 * whether the card is there: a call that does not return stops every window. A process that ends while others work in the
 * module (Firefox always does) is no fault. */
void rule_rv_03(struct check *check, const struct call *call)
{
  const uint64_t most = limit(call);
  if (call->state == CALL_DONE) {
    if (most && call->end > call->start && call->end - call->start > most)
      too_long(check, call, call->end - call->start);
    return;
  }
  if (call->state != CALL_OPEN || check->event->process->verdict == VERDICT_RECORDING) return;
  const uint64_t last = check->place.process->latest, age = last > call->start ? last - call->start : 0;
  if (most && age > most && !crashed(check->event->process))
    hangs(check, call, age);
  else if (check->event->process->verdict == VERDICT_DIED || crashed(check->event->process))
    ends_inside(check, call);
}
