/* What a replay found as JUnit XML: a case for each trace, one for each entry of --expect and of --max-slowdown. */
#include <inttypes.h>
#include <string.h>

#include "decoder/replay/judgement.h"
#include "decoder/show/text.h"

static void open_case(FILE *to, const char *class, const char *name, uint64_t ns)
{
  fprintf(to, "    <testcase classname=\"p11trace.%s\" name=\"", class);
  text_to_xml(to, name);
  fprintf(to, "\" time=\"%.6f\"", (double)ns / 1e9);
}

static uint64_t unexpected(const struct judgement *v, const struct job *job)
{
  uint64_t count = 0;
  for (unsigned i = 0; job->results != NULL && i < job->results->kinds; i++) {
    const struct result_kind *k = &job->results->kind[i];
    if (k->outcome == OUTCOME_DIFFERENT && (v->expectations == NULL || expect_find(v->expectations, k) == NULL))
      count += k->count;
  }
  return count;
}

static bool errs(const struct job *job)
{
  return judgement_could_not(job) != NULL || job->lost[0] != '\0';
}

static void kind_lines(FILE *to, const struct judgement *v, const struct job *job)
{
  static const char *const word[] = {"", "", "not comparable: ", "withheld: "};
  for (unsigned i = 0; job->results != NULL && i < job->results->kinds; i++) {
    const struct result_kind *k = &job->results->kind[i];
    const struct expectation *e = v->expectations != NULL ? expect_find(v->expectations, k) : NULL;
    fprintf(to, "%" PRIu64 " %s%s%s ", k->count, e != NULL ? "expected: " : "", word[k->outcome],
            judgement_function(k));
    if (k->outcome == OUTCOME_DIFFERENT) {
      char what[420];
      const int n = snprintf(what, sizeof what, "%s [%s -> %s]", k->first.place, k->first.recorded, k->first.replayed);
      text_xml_size(to, what, n < 0 ? 0 : (size_t)n);
    } else {
      text_xml_size(to, k->reason, strlen(k->reason));
    }
    fprintf(to, ", first #%" PRIu64 "\n", k->call);
    if (e != NULL) fputs("  ", to), text_to_xml(to, e->reason), fputc('\n', to);
  }
}

static void job_case(FILE *to, const struct judgement *v, const struct job *job)
{
  const uint64_t differences = unexpected(v, job);
  const char *why = judgement_could_not(job);
  const char *end = "system-out";
  open_case(to, "replay", job->trace, job->nanoseconds);
  if (errs(job)) {
    fputs(">\n      <error type=\"could not\" message=\"", to);
    text_to_xml(to, why != NULL ? why : job->lost);
    fputs("\">", to);
    end = "error";
  } else if (differences > 0) {
    fprintf(to, ">\n      <failure type=\"different\" message=\"");
    if (job->broke[0] != '\0')
      text_to_xml(to, job->broke);
    else
      fprintf(to, "%" PRIu64 " difference%s, first in call #%" PRIu64, differences, differences == 1 ? "" : "s",
              job->results->first_difference);
    fputs("\">", to);
    end = "failure";
  } else {
    fputs(">\n      <system-out>", to);
  }
  fprintf(to, "%" PRIu64 " calls\n", job->calls);
  kind_lines(to, v, job);
  if (v->explained == job) text_xml_size(to, v->explanation, strlen(v->explanation));
  fprintf(to, "</%s>\n    </testcase>\n", end);
}

static void expect_case(FILE *to, const struct expectation *e)
{
  open_case(to, "expect", e->line, 0);
  if (e->used > 0)
    fputs("/>\n", to);
  else
    fprintf(to,
            ">\n      <failure type=\"unused\" message=\"line %u: there was no such difference\"/>\n    </testcase>\n",
            e->number);
}

static void slow_case(FILE *to, const struct judgement_latency *l)
{
  open_case(to, "slowdown", p11_functions[l->function].name, 0);
  if (l->calls < SLOW_CALLS)
    fprintf(to, ">\n      <skipped message=\"%" PRIu64 " calls, too few to tell\"/>\n    </testcase>\n", l->calls);
  else if (!l->slower)
    fputs("/>\n", to);
  else
    fprintf(to,
            ">\n      <failure type=\"slower\" message=\"median %" PRIu64 " ns, recorded %" PRIu64
            " ns, allowed +%u %%\"/>\n    </testcase>\n",
            l->replayed_median, l->recorded_median, l->limit->percent);
}

bool replay_print_junit(FILE *to, const struct judgement *v)
{
  size_t tests = v->jobs->count + v->limits, failures = v->unused + v->slower, errors = 0, skipped = 0;
  if (v->expectations != NULL) tests += v->expectations->count;
  for (size_t i = 0; i < v->jobs->count; i++) {
    const struct job *job = &v->jobs->job[i];
    errors += errs(job);
    failures += !errs(job) && unexpected(v, job) > 0;
  }
  for (size_t i = 0; i < v->latencies; i++) skipped += v->latency[i].limit != NULL && v->latency[i].calls < SLOW_CALLS;
  fprintf(to,
          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"p11trace replay\" "
          "tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"0\">\n",
          tests, failures, errors, skipped);
  for (size_t i = 0; i < v->jobs->count; i++) job_case(to, v, &v->jobs->job[i]);
  for (size_t i = 0; v->expectations != NULL && i < v->expectations->count; i++)
    expect_case(to, &v->expectations->at[i]);
  for (size_t i = 0; i < v->latencies; i++)
    if (v->latency[i].limit != NULL) slow_case(to, &v->latency[i]);
  fputs("  </testsuite>\n</testsuites>\n", to);
  return !ferror(to);
}
