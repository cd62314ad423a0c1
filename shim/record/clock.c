#include "shim/record/clock.h"

#include <string.h>
#if defined __x86_64__
#include <cpuid.h>
#endif

#include "shim/record/sys.h"

bool p11t_clock_is_counter;

/* The flag in CPUID says that the counter is constant; only the kernel knows whether the machine keeps the promise, and
 * says so by its own choice of clock source. */
static bool kernel_trusts_counter(void)
{
  static const char *const good[] = {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "xen", "arch_sys_counter"};
  char name[64];
  long fd = sys_open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  long n = sys_read((int)fd, name, sizeof name - 1);
  sys_close((int)fd);
  if (n <= 0) return false;
  name[n] = 0;
  name[strcspn(name, "\n")] = 0;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    if (strcmp(name, good[i]) == 0) return true;
  }
  return false;
}

void p11t_clock_choose(void)
{
#if defined __x86_64__
  unsigned a, b, c, d;
  bool invariant = __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
  p11t_clock_is_counter = invariant && kernel_trusts_counter();
#elif defined __aarch64__
  p11t_clock_is_counter = kernel_trusts_counter();
#else
  p11t_clock_is_counter = false;
#endif
}

static uint64_t read_clock(clockid_t id)
{
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void p11t_clock_read(struct p11t_clock_pair *pair)
{
  /* A thread that is put off between the two readings makes a pair that is wrong by that time: try again. */
  for (int i = 0; i < 5; i++) {
    pair->ticks = p11t_ticks();
    pair->monotonic = p11t_clock_is_counter ? p11t_monotonic() : pair->ticks;
    if (p11t_ticks() - pair->ticks < 50000) break;
  }
  pair->boottime = read_clock(CLOCK_BOOTTIME);
  pair->realtime = read_clock(CLOCK_REALTIME);
}

uint64_t p11t_clock_rate(const struct p11t_clock_pair *a, const struct p11t_clock_pair *b)
{
  if (!p11t_clock_is_counter || b->monotonic <= a->monotonic) return 1000000000u;
  return (uint64_t)((unsigned __int128)(b->ticks - a->ticks) * 1000000000u / (b->monotonic - a->monotonic));
}
