/* What the rules about time share. */
#ifndef PERF_HELP_H
#define PERF_HELP_H

#include "decoder/rules/rules.h"

#define MILLISECOND 1000000ull
#define SECOND 1000000000ull
/* One is none: chance makes a call slow, and it takes three to say that the module is. */
#define THRICE 3

/* Takes a marker in: after the machine was suspended times say nothing for a while (guard G8). */
void perf_marker(struct check *check);
/* Is what the call took no fault of the module: the machine was suspended, or the token removed (guards G8, G1)? */
bool perf_disturbed(const struct check *check, const struct call *call);
/* That a machine under load does the same. */
void perf_hint(struct finding *finding);

static inline uint64_t perf_took(const struct call *call)
{
  return call->end > call->start ? call->end - call->start : 0;
}

static inline unsigned long perf_ms(uint64_t ns)
{
  return (unsigned long)(ns / MILLISECOND);
}

#endif
