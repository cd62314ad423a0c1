#include "decoder/check/profile.h"

#include <string.h>

static const struct {
  const char *name, *file;
} profiles[] = {
#define PROFILE(name, what, file) {name, file},
#define KNOWN(name, rule, does)
#include "decoder/check/profiles.def"
#undef PROFILE
#undef KNOWN
};
enum { PROFILES = sizeof profiles / sizeof *profiles };

static const struct {
  const char *name, *rule, *does;
} known[] = {
#define PROFILE(name, what, file)
#define KNOWN(name, rule, does) {name, rule, does},
#include "decoder/check/profiles.def"
#undef PROFILE
#undef KNOWN
};

bool profile_exists(const char *name)
{
  for (size_t i = 0; i < PROFILES; i++)
    if (!strcmp(profiles[i].name, name)) return true;
  return !strcmp(name, "auto") || !strcmp(name, "none");
}

/* The profile of a module by its file name, NULL none. */
static const char *of_file(const char *module)
{
  for (size_t i = 0; i < PROFILES; i++)
    if (strstr(module, profiles[i].file)) return profiles[i].name;
  return NULL;
}

static void apply(const char *name, struct finding *const *list, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    const char *profile = !strcmp(name, "auto") ? of_file(list[i]->module) : name;
    for (size_t k = 0; profile && k < sizeof known / sizeof *known; k++) {
      if (list[i]->fault != FAULT_MODULE || strcmp(known[k].name, profile)) continue;
      if (strcmp(known[k].rule, list[i]->rule->id)) continue;
      list[i]->known = known[k].does;
      list[i]->severity = SEVERITY_INFO;
    }
  }
}

size_t profile_conclude(struct checker *checker, const char *name, size_t processes, struct finding *const **list,
                        struct check_summary *summary)
{
  size_t count = checker_findings(checker, list);
  apply(name, *list, count);
  count = checker_findings(checker, list);
  *summary =
      (struct check_summary){.calls = checker_calls(checker), .processes = processes, .rules = checker_rules(checker)};
  for (size_t i = 0; i < count; i++) {
    summary->errors += (*list)[i]->severity == SEVERITY_ERROR;
    summary->warnings += (*list)[i]->severity == SEVERITY_WARNING;
    summary->infos += (*list)[i]->severity == SEVERITY_INFO;
  }
  return count;
}
