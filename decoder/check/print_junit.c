/* Findings as JUnit XML, for CI: each finding is a test case, and each rule that found nothing is one that passed. A finding
 * below the level of --severity passes too, with its text as output. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/rules/rules.h"
#include "decoder/show/text.h"

/* "NSS-LOGIN-09" of the group NSS-LOGIN. */
static void open_case(FILE *to, const struct rule *r, const char *what)
{
  fprintf(to, "    <testcase classname=\"p11trace.%.*s\" name=\"%s: ", (int)(strrchr(r->id, '-') - r->id), r->id,
          r->id);
  text_to_xml(to, what);
  fputs("\" time=\"0\"", to);
}

static void body(FILE *to, const struct finding *f)
{
  char line[600];
  for (unsigned i = 0; i < f->evidences; i++) {
    note_text(&f->evidence[i].note, line, sizeof line);
    fprintf(to, "%u. ", i + 1);
    text_to_xml(to, line);
    if (f->evidence[i].detail) fputs("; ", to), text_to_xml(to, f->evidence[i].detail);
    fputc('\n', to);
  }
  fputs("why NSS cares: ", to);
  text_to_xml(to, f->rule->symptom);
  if (finding_advised(f)) fputs("\nwhat to change: ", to), text_to_xml(to, f->rule->advice);
  if (f->hint) fputs("\npossibly: ", to), text_to_xml(to, f->hint);
  fprintf(to, "\n%" PRIu64 " time%s\n", f->count, f->count == 1 ? "" : "s");
}

static void finding_case(FILE *to, const struct finding *f, enum severity level)
{
  char where[200];
  size_t used = 0;
  if (f->has_slot) note_append(where, sizeof where, &used, "slot %" PRIu64 ": ", f->slot);
  where[used] = 0;
  char *name = NULL;
  if (asprintf(&name, "%s%s", where, f->sentence) < 0) return;
  open_case(to, f->rule, name);
  free(name);
  const bool failed = f->severity >= level;
  fprintf(to, failed ? ">\n      <failure type=\"%s\" message=\"" : ">\n      <system-out>%s: ",
          severity_name(f->severity));
  text_to_xml(to, f->sentence);
  fputs(failed ? "\">" : "\n", to);
  body(to, f);
  fputs(failed ? "</failure>\n    </testcase>\n" : "</system-out>\n    </testcase>\n", to);
}

bool check_print_junit(FILE *to, struct checker *checker, struct finding *const *list, size_t count,
                       enum severity level)
{
  bool found[RULE_COUNT] = {0};
  size_t tests = 0, failures = 0;
  for (size_t i = 0; i < count; i++) {
    found[list[i]->rule - rules] = true;
    failures += list[i]->severity >= level;
  }
  for (size_t i = 0; i < RULE_COUNT; i++) tests += checker_runs(checker, &rules[i]) && !found[i];
  tests += count;
  fprintf(
      to,
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
      "  <testsuite name=\"p11trace check\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"0\" time=\"0\">\n",
      tests, failures);
  for (size_t i = 0; i < count; i++) finding_case(to, list[i], level);
  for (size_t i = 0; i < RULE_COUNT; i++) {
    if (!checker_runs(checker, &rules[i]) || found[i]) continue;
    open_case(to, &rules[i], rules[i].statement);
    fputs("/>\n", to);
  }
  fputs("  </testsuite>\n</testsuites>\n", to);
  return !ferror(to);
}
