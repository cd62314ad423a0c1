/* The table of rules. */
#include "decoder/rules/rules.h"

#include <string.h>

#define ON_FUNCTION(ctx, name) P11_F_##name
#define ON(...)                                   \
  {                                               \
    P11_LIST(ON_FUNCTION, 0, __VA_ARGS__), ON_END \
  }
#define ON_EACH(...)    \
  {                     \
    __VA_ARGS__, ON_END \
  }

/* clang-format off */
const struct rule rules[RULE_COUNT] = {
#define RULE(id, name, severity, fault, faq, core, see, on, statement, quote, source, observed, symptom, advice)       \
  {id, rule_##name, SEVERITY_##severity, FAULT_##fault, faq, core, SEE_##see, on, statement, quote, source, observed, \
   symptom, advice},
#include "decoder/rules/rules.def"
#undef RULE
};
/* clang-format on */

const struct rule *rule_by_id(const char *id)
{
  for (size_t i = 0; i < RULE_COUNT; i++)
    if (!strcmp(rules[i].id, id)) return &rules[i];
  return NULL;
}

const char *severity_name(enum severity severity)
{
  return severity == SEVERITY_ERROR ? "error" : severity == SEVERITY_WARNING ? "warning" : "info";
}

const char *fault_name(enum fault fault)
{
  return fault == FAULT_BOTH ? "both" : fault == FAULT_CALLER ? "caller" : "module";
}
