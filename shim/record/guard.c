#include "shim/record/guard.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>

#include "shim/record/sys.h"

static struct p11t_guard
    before_start; /* epoch 0: whoever comes too early takes the slow way and is turned back there */
struct p11t_guard *p11t_guard = &before_start;

bool p11t_guard_make(void)
{
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  if (madvise(page, size, MADV_WIPEONFORK) != 0) {
    munmap(page, size);
    return false;
  }
  madvise(page, size, MADV_DONTDUMP);
  p11t_guard = page;
  return true;
}

static void take(_Atomic uint32_t *lock)
{
  uint32_t seen = 0;
  if (atomic_compare_exchange_strong_explicit(lock, &seen, 1, memory_order_acquire, memory_order_relaxed)) return;
  int saved = errno;
  if (seen != 2) seen = atomic_exchange_explicit(lock, 2, memory_order_acquire);
  while (seen != 0) {
    P11T_SYS(SYS_futex, (uint32_t *)lock, FUTEX_WAIT_PRIVATE, 2, (void *)0);
    seen = atomic_exchange_explicit(lock, 2, memory_order_acquire);
  }
  errno = saved;
}

static void give_back(_Atomic uint32_t *lock)
{
  if (atomic_exchange_explicit(lock, 0, memory_order_release) == 2) {
    int saved = errno;
    P11T_SYS(SYS_futex, (uint32_t *)lock, FUTEX_WAKE_PRIVATE, 1);
    errno = saved;
  }
}

void p11t_lock(void)
{
  take(&p11t_guard->lock);
}
void p11t_unlock(void)
{
  give_back(&p11t_guard->lock);
}
void p11t_modules_lock(void)
{
  take(&p11t_guard->modules_lock);
}
void p11t_modules_unlock(void)
{
  give_back(&p11t_guard->modules_lock);
}

/* All of them, those of the C library too: cancellation comes as one. */
void p11t_sessions_lock(uint64_t *signals)
{
  uint64_t all = ~(1ull << (SIGSYS - 1));
  P11T_SYS(SYS_rt_sigprocmask, SIG_BLOCK, &all, signals, 8);
  take(&p11t_guard->sessions_lock);
}
void p11t_sessions_unlock(const uint64_t *signals)
{
  give_back(&p11t_guard->sessions_lock);
  P11T_SYS(SYS_rt_sigprocmask, SIG_SETMASK, signals, (void *)0, 8);
}
