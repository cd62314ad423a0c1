/* functions.def as a table. */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#include <string.h>

#include "spec.h"

#define PARAM(ctx, ctype, pname, kind) {#pname, #ctype, P_##kind}

const struct p11_function_info p11_functions[P11_FUNCTIONS] = {
#define F(fname, since, group, class, ...) \
  {#fname, P11_##since, P11_GROUP_##group, P11_CLASS_##class, P11_COUNT(__VA_ARGS__), {P11_LIST(PARAM, 0, __VA_ARGS__)}},
#include "functions.def"
};

int p11_function_by_name(const char *name)
{
  for (int i = 0; i < P11_FUNCTIONS; i++) {
    if (strcmp(p11_functions[i].name, name) == 0) return i;
  }
  return -1;
}
