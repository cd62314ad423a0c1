/* What faults remember: one small table for all, behind a mutex that is held across nothing. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "faulty/faulty_part.h"

enum { ENTRIES = 8192, ONCE = -1 };

struct kept {
  int fault, kind; /* the place in the set; enum flt_kind, or ONCE */
  CK_ULONG key, value;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kept kept[ENTRIES];
static size_t used;
static atomic_ulong epoch;

/* A fork must not copy the mutex locked. */
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

/* The entry, made if need be; with the mutex. NULL: the table is full. */
static struct kept *entry(int kind, CK_ULONG key, bool make)
{
  const int fault = flt_self();
  for (size_t i = 0; i < used; i++)
    if (kept[i].fault == fault && kept[i].kind == kind && kept[i].key == key) return &kept[i];
  if (!make) return NULL;
  if (used == ENTRIES) {
    fprintf(stderr, "p11faulty: a fault has more to remember than %d things: it forgets\n", ENTRIES);
    used = 0;
  }
  kept[used] = (struct kept){fault, kind, key, 0};
  return &kept[used++];
}

CK_ULONG flt_get(enum flt_kind kind, CK_ULONG key)
{
  lock();
  const struct kept *k = entry(kind, key, false);
  const CK_ULONG value = k != NULL ? k->value : 0;
  unlock();
  return value;
}

void flt_set(enum flt_kind kind, CK_ULONG key, CK_ULONG value)
{
  lock();
  entry(kind, key, true)->value = value;
  unlock();
}

bool flt_claim(enum flt_kind kind, CK_ULONG key, CK_ULONG value)
{
  lock();
  struct kept *k = entry(kind, key, true);
  const bool free = k->value == 0;
  if (free) k->value = value;
  unlock();
  return free;
}

static CK_ULONG add(int kind, CK_ULONG key, CK_ULONG more)
{
  lock();
  const CK_ULONG value = entry(kind, key, true)->value += more;
  unlock();
  return value;
}

CK_ULONG flt_add(enum flt_kind kind, CK_ULONG key, CK_ULONG more)
{
  return add(kind, key, more);
}

bool flt_once(void)
{
  return add(ONCE, 0, 1) == 1;
}

/* Drops what matches; -1 and NULL match all. */
static void drop(int fault, int kind, const CK_ULONG *key)
{
  lock();
  for (size_t i = 0; i < used;) {
    const bool match =
        (fault == -1 || kept[i].fault == fault) && kept[i].kind == kind && (key == NULL || kept[i].key == *key);
    if (match)
      kept[i] = kept[--used];
    else
      i++;
  }
  unlock();
}

void flt_forget(enum flt_kind kind)
{
  drop(flt_self(), kind, NULL);
}

bool flt_each_kept(enum flt_kind kind, CK_ULONG value, size_t *place, CK_ULONG *key)
{
  bool found = false;
  lock();
  while (!found && *place < used) {
    const struct kept *k = &kept[(*place)++];
    found = k->fault == flt_self() && k->kind == (int)kind && k->value == value;
    if (found) *key = k->key;
  }
  unlock();
  return found;
}

void flt_drop_session_state(CK_SESSION_HANDLE handle)
{
  drop(-1, FLT_SESSION, &handle);
}

void flt_drop_state(void)
{
  atomic_fetch_add(&epoch, 1);
  for (int kind = FLT_FAULT; kind < FLT_EVER; kind++) drop(-1, kind, NULL);
}

/* Another configuration: the places mean other faults. */
void flt_state_reset(void)
{
  lock();
  used = 0;
  unlock();
}

unsigned long flt_epoch(void)
{
  return atomic_load(&epoch);
}

bool flt_sleep(CK_ULONG milliseconds)
{
  enum { PART = 10 };
  const unsigned long began = flt_epoch();
  for (CK_ULONG done = 0; done < milliseconds; done += PART) {
    if (flt_epoch() != began) return false;
    const CK_ULONG part = milliseconds - done < PART ? milliseconds - done : PART;
    nanosleep(&(struct timespec){0, (long)part * 1000000}, NULL);
  }
  return flt_epoch() == began;
}
