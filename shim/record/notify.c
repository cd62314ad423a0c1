#include "shim/record/notify.h"

#include <errno.h>

#include "shim/record/guard.h"
#include "shim/record/writer.h"

static void record(unsigned module, uint8_t what, uint64_t session, uint64_t number)
{
  int saved = errno;
  struct p11t_thread *t = NULL;
  if (p11t_process.phase == P11T_RUNNING && atomic_load(&p11t_guard->epoch) != 0) t = p11t_thread_enter();
  if (t != NULL && t->busy == NULL) {
    struct p11t_writer w;
    uint64_t now = p11t_ticks();
    t->busy = __builtin_frame_address(0);
    p11t_begin(&w, t, P11T_CALLBACK, p11t_next_number(), now);
    p11t_n(&w, what);
    p11t_n(&w, module);
    p11t_u(&w, session);
    p11t_u(&w, number);
    p11t_commit(&w);
    if (now - t->pair_ticks > P11T_TIME_EVERY) p11t_thread_time(t);
    if (p11t_process.write_through) p11t_flush(t); /* while busy: a signal handler may call the module */
    t->busy = NULL;
  }
  errno = saved;
}

void p11t_notify_begins(unsigned module, uint64_t session, uint64_t event)
{
  record(module, P11T_CALLBACK_BEGINS, session, event);
}

void p11t_notify_ends(unsigned module, uint64_t session, uint64_t rv)
{
  record(module, P11T_CALLBACK_ENDS, session, rv);
}
