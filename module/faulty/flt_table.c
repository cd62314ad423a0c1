/* faults.def as a table. */
#include "faulty/faulty_part.h"

/* clang-format off */
#define HOOK(id, function) {P11_F_##function, (flt_function *)id##_##function},
#define FAULT(name, id, rule, text, ...) \
  static const struct flt_hook hooks_##id[] = {FLT_EACH(HOOK, id, __VA_ARGS__)};
#include "faulty/faults.def"

const struct flt_fault flt_faults[] = {
#define FAULT(name, id, rule, text, ...) {name, rule, text, hooks_##id, sizeof hooks_##id / sizeof hooks_##id[0]},
#include "faulty/faults.def"
};
/* clang-format on */

const size_t flt_faults_count = sizeof flt_faults / sizeof flt_faults[0];
