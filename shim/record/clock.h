/* Time in ticks: the processor's counter where the kernel itself trusts it, else CLOCK_MONOTONIC in ns. */
#ifndef RECORD_CLOCK_H
#define RECORD_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "shim/trace/format.h"

extern bool p11t_clock_is_counter; /* set once by p11t_clock_choose, cleared if the counter is caught lying */

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

/* Decides for counter or CLOCK_MONOTONIC. Reads /sys; called when the recorder is loaded. */
void p11t_clock_choose(void);

/* Reads all clocks at one moment. */
void p11t_clock_read(struct p11t_clock_pair *pair);

/* Ticks per second, from two readings; they should be at least 200 us apart. */
uint64_t p11t_clock_rate(const struct p11t_clock_pair *a, const struct p11t_clock_pair *b);

#endif
