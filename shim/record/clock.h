/* Time in ticks: the processor's counter where the kernel itself trusts it, else CLOCK_MONOTONIC in ns. */
#ifndef RECORD_CLOCK_H
#define RECORD_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "shim/trace/format.h"

extern bool p11t_clock_is_counter; /* set once by p11t_clock_start, cleared if the counter is caught lying */

static inline uint64_t p11t_monotonic(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The x86 counter runs at 2-4 GHz; its lowest bits are noise that does not compress. A tick is 8 of it: 2-4 ns. */
static inline uint64_t p11t_ticks(void)
{
  if (__builtin_expect(p11t_clock_is_counter, 1)) {
#if defined __x86_64__
    return __builtin_ia32_rdtsc() >> 3;
#elif defined __aarch64__
    uint64_t v;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
    return v;
#endif
  }
  return p11t_monotonic();
}

/* Decides for counter or CLOCK_MONOTONIC, and reads all clocks. Reads /sys; called when the recorder is loaded. */
void p11t_clock_start(struct p11t_clock_pair *first);

/* Reads all clocks at one moment; returns how many ticks that moment was long. */
uint64_t p11t_clock_read(struct p11t_clock_pair *pair);

/* Ticks per second, from p11t_clock_start on; waits until that is 200 us ago. Under the lock. */
uint64_t p11t_clock_estimate(void);

/* False when the counter does not run as it did: it is no clock then. Of a reading by p11t_clock_read and what that
 * returned; under the lock. */
bool p11t_clock_holds(const struct p11t_clock_pair *now, uint64_t apart);

#endif
