/* To be preloaded: every third reading of CLOCK_MONOTONIC takes 120 us, as if the thread were put off just before it.
 * SLOW_CLOCK says which reading is the first such one: 1, 2 or 3. */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { EVERY = 3, DELAY_NS = 120000 };

static int (*real)(clockid_t, struct timespec *);
static atomic_uint readings;

__attribute__((constructor)) static void start(void)
{
  const char *first = getenv("SLOW_CLOCK");
  void *found = dlsym(RTLD_NEXT, "clock_gettime");
  real = (int (*)(clockid_t, struct timespec *))(uintptr_t)found;
  readings = EVERY - (unsigned)(first ? atoi(first) : EVERY);
}

static uint64_t now(void)
{
  struct timespec t;
  real(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *t)
{
  if (real == NULL) start();
  if (id == CLOCK_MONOTONIC && atomic_fetch_add(&readings, 1) % EVERY == EVERY - 1) {
    for (uint64_t until = now() + DELAY_NS; now() < until;) continue;
  }
  return real(id, t);
}
