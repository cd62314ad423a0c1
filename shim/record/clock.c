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

static void choose(void)
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

/* Ticks that take half a microsecond to one. */
static uint64_t tight_ticks(void)
{
#if defined __aarch64__
  uint64_t per_second;
  __asm__("mrs %0, cntfrq_el0" : "=r"(per_second));
  return per_second / 1000000u + 1;
#else
  return 256;
#endif
}

/* A thread that is put off between two readings makes a pair that is wrong by up to that time. So CLOCK_MONOTONIC is read
 * between two readings of the counter and belongs to their middle; of some tries the tightest counts, as a rule the first,
 * which costs 50 ns. */
static uint64_t read_pair(struct p11t_clock_pair *pair)
{
  enum { TRIES = 8 };
  uint64_t best = UINT64_MAX, tight = tight_ticks();
  for (int i = 0; i < TRIES && best > tight; i++) {
    uint64_t before = p11t_ticks(), monotonic = p11t_monotonic(), after = p11t_ticks();
    uint64_t apart = after >= before ? after - before : UINT64_MAX; /* a processor's counter that is behind */
    if (i > 0 && apart >= best) continue;
    best = apart;
    pair->monotonic = monotonic;
    pair->ticks = apart == UINT64_MAX ? before : before + apart / 2;
  }
  return best;
}

uint64_t p11t_clock_read(struct p11t_clock_pair *pair)
{
  uint64_t apart = 0;
  if (p11t_clock_is_counter)
    apart = read_pair(pair);
  else
    pair->ticks = pair->monotonic = p11t_monotonic();
  pair->boottime = read_clock(CLOCK_BOOTTIME);
  pair->realtime = read_clock(CLOCK_REALTIME);
  return apart;
}

/* What is known of the counter's rate. Changed under the recorder's lock. */
static struct {
  struct p11t_clock_pair since; /* it is measured from here on */
  uint64_t since_apart;
  uint64_t estimate;  /* ticks per second over the first moments: what HEAD says */
  uint64_t reference; /* over SURE_NS or more; 0: not measured yet */
  bool tight;         /* the estimate can be wrong by its own 1 % at most */
} known;

#define ESTIMATE_NS 200000u
#define SURE_NS 50000000u

static uint64_t rate(const struct p11t_clock_pair *a, const struct p11t_clock_pair *b)
{
  return (uint64_t)((unsigned __int128)(b->ticks - a->ticks) * 1000000000u / (b->monotonic - a->monotonic));
}

/* CLOCK_MONOTONIC stands still while the machine sleeps and the counter may go on or begin anew, as the processor likes:
 * nothing is measured across that. */
static bool slept(const struct p11t_clock_pair *now)
{
  const struct p11t_clock_pair *then = &known.since;
  return (int64_t)((now->boottime - now->monotonic) - (then->boottime - then->monotonic)) > 1000000;
}

static void measure_from(const struct p11t_clock_pair *pair, uint64_t apart)
{
  known.since = *pair;
  known.since_apart = apart;
}

void p11t_clock_start(struct p11t_clock_pair *first)
{
  choose();
  uint64_t apart = p11t_clock_read(first);
  measure_from(first, apart);
}

uint64_t p11t_clock_estimate(void)
{
  struct p11t_clock_pair now;
  uint64_t apart;
  if (!p11t_clock_is_counter) return 1000000000u;
  do {
    apart = p11t_clock_read(&now);
    if (slept(&now)) measure_from(&now, apart);
  } while (now.monotonic - known.since.monotonic < ESTIMATE_NS);
  known.estimate = rate(&known.since, &now);
  uint64_t allowed = (now.ticks - known.since.ticks) / 50; /* each reading is wrong by half of `apart` at most */
  known.tight = known.since_apart < allowed / 2 && apart < allowed / 2;
  return known.estimate;
}

static bool differs(uint64_t measured, uint64_t from, uint64_t by)
{
  return measured < from - by || measured > from + by;
}

bool p11t_clock_holds(const struct p11t_clock_pair *now, uint64_t apart)
{
  if (slept(now)) measure_from(now, apart);
  if (now->monotonic - known.since.monotonic < SURE_NS) return true;
  uint64_t measured = rate(&known.since, now);
  if (known.reference != 0) return !differs(measured, known.reference, known.reference / 100);
  known.reference = measured; /* better than the estimate, which says something only if the two are worlds apart */
  return !known.tight || !differs(measured, known.estimate, known.estimate / 10);
}
