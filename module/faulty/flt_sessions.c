/* The sessions that the target has open, and what it says of them. */
#include <pthread.h>

#include "faulty/faulty_part.h"

enum { SESSIONS = 4096 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct flt_session sessions[SESSIONS]; /* in the order of opening */
static size_t used;
static unsigned long opened;

static void lock(void)
{
  pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
  pthread_mutex_unlock(&mutex);
}

__attribute__((constructor)) static void at_fork(void)
{
  pthread_atfork(lock, unlock, unlock);
}

void flt_opened(CK_SESSION_HANDLE handle, CK_SLOT_ID slot, CK_FLAGS flags)
{
  lock();
  if (used < SESSIONS) sessions[used++] = (struct flt_session){handle, slot, flags, ++opened};
  unlock();
}

/* The place of the session, or `used`; with the mutex. */
static size_t place_of(CK_SESSION_HANDLE handle)
{
  size_t i = 0;
  while (i < used && sessions[i].handle != handle) i++;
  return i;
}

void flt_closed(CK_SESSION_HANDLE handle)
{
  lock();
  const size_t i = place_of(handle);
  if (i < used) memmove(&sessions[i], &sessions[i + 1], (--used - i) * sizeof sessions[0]);
  unlock();
  flt_drop_session_state(handle);
}

void flt_closed_all(CK_SLOT_ID slot)
{
  struct flt_session of_slot[64];
  for (size_t n; (n = flt_sessions(slot, of_slot, 64)) > 0;)
    for (size_t i = 0; i < n && i < 64; i++) flt_closed(of_slot[i].handle);
}

void flt_finalized(void)
{
  lock();
  used = 0;
  unlock();
  flt_drop_state();
}

bool flt_session(CK_SESSION_HANDLE handle, struct flt_session *out)
{
  lock();
  const size_t i = place_of(handle);
  const bool found = i < used;
  if (found) *out = sessions[i];
  unlock();
  return found;
}

bool flt_is_rw(CK_SESSION_HANDLE handle)
{
  struct flt_session session;
  return flt_session(handle, &session) && (session.flags & CKF_RW_SESSION) != 0;
}

size_t flt_sessions(CK_SLOT_ID slot, struct flt_session *out, size_t room)
{
  size_t n = 0;
  lock();
  for (size_t i = 0; i < used; i++) {
    if (slot != (CK_SLOT_ID)-1 && sessions[i].slot != slot) continue;
    if (n < room) out[n] = sessions[i];
    n++;
  }
  unlock();
  return n;
}

CK_STATE flt_state(CK_SESSION_HANDLE handle)
{
  CK_SESSION_INFO info;
  return TARGET(C_GetSessionInfo, (handle, &info)) == CKR_OK ? info.state : (CK_STATE)-1;
}

CK_STATE flt_state_public(CK_FLAGS session_flags)
{
  return session_flags & CKF_RW_SESSION ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
}

CK_STATE flt_state_user(CK_FLAGS session_flags)
{
  return session_flags & CKF_RW_SESSION ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
}
