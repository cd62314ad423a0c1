#include "shim/record/trigger.h"

#include <signal.h>
#include <stdio.h>

#include "shim/record/clock.h"
#include "shim/record/options.h"
#include "shim/record/ring.h"
#include "shim/record/say.h"

static _Atomic bool signalled;

/* Writing a dump here would need the lock, which the interrupted thread may hold: the next call does it. */
static void on_signal(int number)
{
  (void)number;
  atomic_store_explicit(&signalled, true, memory_order_relaxed);
}

/* Only where the signal would have ended the program: a handler of the program's own is never replaced. */
static void watch_signal(int number)
{
  struct sigaction old, ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  if (sigaction(number, NULL, &old) != 0 || old.sa_handler == on_signal) return;
  if (old.sa_handler != SIG_DFL)
    p11t_say("dump-on=signal=%s: the program uses this signal itself; it writes no dump",
             number == SIGUSR1 ? "USR1" : "USR2");
  else
    sigaction(number, &ours, NULL);
}

void p11t_trigger_start(void)
{
  struct p11t_process *p = &p11t_process;
  const struct p11_triggers *on = &p11t_options.dump_on;
  bool any = on->calls > 0 || on->signal != 0 || on->exit;
  p->aside = 0;
  atomic_store(&signalled, false);
  if (p11t_options.ring == 0) {
    if (any) p11t_say("dump-on= is for a flight recorder: give ring= too; it is ignored");
    if (p->write_through) p->aside = P11T_ASIDE_THROUGH;
    return;
  }
  if (on->calls > 0 || on->signal != 0) p->aside = P11T_ASIDE_TRIGGER;
  if (on->signal != 0) watch_signal(on->signal);
}

bool p11t_trigger_pending(void)
{
  return atomic_load_explicit(&signalled, memory_order_relaxed);
}

static void look_for_signal(void)
{
  if (!p11t_trigger_pending() || !atomic_exchange(&signalled, false)) return;
  p11t_ring_dump(p11t_options.dump_on.signal == SIGUSR1 ? "signal USR1" : "signal USR2");
}

void p11t_aside_enter(struct p11t_thread *t, struct p11t_call *call, uint64_t now)
{
  if (p11t_process.aside & P11T_ASIDE_THROUGH) p11t_flush(t);
  call->start = now;
  look_for_signal();
}

static uint64_t in_ns(uint64_t ticks)
{
  if (!p11t_clock_is_counter) return ticks;
  return (uint64_t)((unsigned __int128)ticks * 1000000000u / p11t_process.ticks_per_second);
}

void p11t_aside_leave(struct p11t_thread *t, const struct p11t_call *call, CK_RV rv, uint64_t now, uint8_t flags)
{
  if (p11t_process.aside & P11T_ASIDE_THROUGH) p11t_flush(t);
  const struct p11_triggers *on = &p11t_options.dump_on;
  uint64_t ns = on->timed && now > call->start ? in_ns(now - call->start) : 0;
  unsigned calls = flags & P11T_PROBE || !(p11t_process.aside & P11T_ASIDE_TRIGGER) ? 0 : on->calls;
  for (unsigned i = 0; i < calls; i++) {
    if (!p11_trigger_matches(&on->call[i], call->function, rv, ns)) continue;
    char text[160];
    const char *name = p11_trigger_rv_name(rv);
    snprintf(text, sizeof text, "#%llu %s %s%s0x%llx", (unsigned long long)call->number,
             p11_functions[call->function].name, name ? name : "", name ? " " : "", (unsigned long long)rv);
    p11t_ring_dump(text);
    break;
  }
  look_for_signal();
}
