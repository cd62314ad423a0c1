/* Sleeping until the counter of a token changes.
 *
 * The kernel watches the token directory for files that are closed after they could be written to. It is not asked for a
 * single file, for another token may come while a thread waits. What else is written there only makes the thread look at the
 * counters once more. */
#include "core/events.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "config/config.h"
#include "core/module.h"
#include "core/presence.h"

/* How often a thread looks where the kernel cannot tell it: no instance of inotify left, or no directory yet. */
#define LOOK_MS 250

static struct {
  pthread_mutex_t turn; /* one thread sleeps, the others wait for their turn: only one reads what the kernel says */
  pthread_mutex_t lock; /* guards what follows */
  int files, end;       /* inotify; an eventfd that can be read once C_Finalize has begun. -1: not open */
  bool ending;
} waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, -1, -1, false};

static void close_both(void)
{
  if (waiting.files >= 0) close(waiting.files);
  if (waiting.end >= 0) close(waiting.end);
  waiting.files = waiting.end = -1;
}

/* False if C_Finalize has begun, or if the thread could not be woken by it: then it must not sleep. */
static bool prepare(CK_RV *rv)
{
  *rv = CKR_OK;
  pthread_mutex_lock(&waiting.lock);
  if (waiting.end < 0) waiting.end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (waiting.files < 0) {
    waiting.files = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (waiting.files >= 0 && inotify_add_watch(waiting.files, tok_module->config->directory, IN_CLOSE_WRITE) < 0) {
      close(waiting.files);
      waiting.files = -1;
    }
  }
  if (waiting.ending)
    *rv = CKR_CRYPTOKI_NOT_INITIALIZED;
  else if (waiting.end < 0)
    *rv = CKR_HOST_MEMORY;
  pthread_mutex_unlock(&waiting.lock);
  return *rv == CKR_OK;
}

/* Whatever it says: the counters tell the rest. */
static void forget_said(int files)
{
  char said[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
  while (files >= 0 && read(files, said, sizeof said) > 0) continue;
}

CK_RV tok_event_wait(CK_SLOT_ID *slot)
{
  CK_RV rv;
  int cancel;
  /* A thread that ended in here would never leave the module, and C_Finalize would wait for it. */
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  pthread_mutex_lock(&waiting.turn);
  while (prepare(&rv)) {
    /* In this order: what happens after the look is said again. */
    forget_said(waiting.files);
    if (tok_slot_event(slot)) break;
    struct pollfd fds[] = {
        {waiting.end,   POLLIN, 0},
        {waiting.files, POLLIN, 0}
    };
    poll(fds, waiting.files >= 0 ? 2 : 1, waiting.files >= 0 ? -1 : LOOK_MS);
  }
  pthread_mutex_unlock(&waiting.turn);
  pthread_setcancelstate(cancel, NULL);
  return rv;
}

void tok_events_end(void)
{
  pthread_mutex_lock(&waiting.lock);
  waiting.ending = true;
  if (waiting.end >= 0) eventfd_write(waiting.end, 1);
  pthread_mutex_unlock(&waiting.lock);
}

void tok_events_free(void)
{
  close_both();
  waiting.ending = false;
}

/* The parent's threads sleep on; the child has copies of their descriptors. */
void tok_events_after_fork_child(void)
{
  close_both();
  waiting.turn = waiting.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
  waiting.ending = false;
}
