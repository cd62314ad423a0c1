/* What modules that many people have are known to do otherwise: their findings are shown as information with the reason, never
 * left out (rules.md calls it calibration). profiles.def has the list. */
#ifndef CHECK_PROFILE_H
#define CHECK_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "decoder/rules/rules.h"

/* Is there a profile of that name? "auto" (each module by its file name) and "none" are. */
bool profile_exists(const char *name);
/* The end of a check: the findings in order, what the profile knows lowered with the reason in finding->known, and counts in
 * *summary. Returns how many there are. `processes`: of the trace set. */
size_t profile_conclude(struct checker *checker, const char *name, size_t processes, struct finding *const **list,
                        struct check_summary *summary);
#endif
