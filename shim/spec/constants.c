/* Names of constants, both ways. Only the decoder and tests link this: the shim records numbers. */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#include <string.h>

#include "spec.h"

struct constant {
  const char *name;
  uint64_t value;
};

#define BEGIN(domain) static const struct constant list_##domain[] = {
#define C(cname, value, source) {#cname, value},
#define END(domain) };
#include "constants.def"

/* One per domain; those of NONE stay empty. */
static const struct list {
  const struct constant *constant;
  size_t count;
} lists[P11_DOMAINS] = {
#define D(domain, label, is_flags) \
  [P11_DOM_##domain] = {list_##domain, sizeof list_##domain / sizeof list_##domain[0]},
#include "domains.def"
};

/* The lists are sorted by value and the preferred name is the first of its value: the search ends there. */
const char *p11_constant_name(enum p11_domain domain, uint64_t value)
{
  if ((unsigned)domain >= P11_DOMAINS) return NULL;
  const struct list *list = &lists[domain];
  size_t low = 0, high = list->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (list->constant[middle].value < value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < list->count && list->constant[low].value == value ? list->constant[low].name : NULL;
}

bool p11_constant_value(const char *name, uint64_t *value)
{
  for (size_t domain = 0; domain < P11_DOMAINS; domain++) {
    for (size_t i = 0; i < lists[domain].count; i++) {
      if (strcmp(lists[domain].constant[i].name, name) == 0) {
        *value = lists[domain].constant[i].value;
        return true;
      }
    }
  }
  return false;
}
