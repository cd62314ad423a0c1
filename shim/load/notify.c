/* probe=notify: the module gets a callback of ours, which passes everything on and says so in the trace. */
#include "shim/load/notify.h"

#include "shim/record/guard.h"
#include "shim/record/notify.h"
#include "shim/record/options.h"

#define CALLBACKS 256

/* What an application gave; ours is called with the place of it. Kept for good: a module may call late, and a program has few
 * different ones. */
static struct callback {
  CK_NOTIFY notify;
  CK_VOID_PTR application;
  unsigned module;
} callbacks[CALLBACKS];
static unsigned used;

static CK_RV notified(CK_SESSION_HANDLE hSession, CK_NOTIFICATION event, CK_VOID_PTR pApplication)
{
  const struct callback *c = pApplication;
  p11t_notify_begins(c->module, hSession, event);
  CK_RV rv = c->notify(hSession, event, c->application);
  p11t_notify_ends(c->module, hSession, rv);
  return rv;
}

void p11t_notify_wrap(unsigned module, CK_VOID_PTR *pApplication, CK_NOTIFY *Notify)
{
  if (*Notify == NULL || !(p11t_options.probe & P11T_PROBE_NOTIFY)) return;
  struct callback *c = NULL;
  p11t_modules_lock();
  for (unsigned i = 0; i < used && c == NULL; i++) {
    struct callback *o = &callbacks[i];
    if (o->notify == *Notify && o->application == *pApplication && o->module == module) c = o;
  }
  if (c == NULL && used < CALLBACKS) {
    c = &callbacks[used++];
    *c = (struct callback){*Notify, *pApplication, module};
  }
  p11t_modules_unlock();
  if (c == NULL) return;
  *Notify = notified;
  *pApplication = c;
}
