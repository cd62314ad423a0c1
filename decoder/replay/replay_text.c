/* What a replay found, for people. */
#include <inttypes.h>
#include <string.h>

#include "decoder/replay/judgement.h"
#include "decoder/show/text.h"

enum { KINDS_SHOWN = 60 }; /* of a sort */

static const char *plural(uint64_t n)
{
  return n == 1 ? "" : "s";
}

static void summary(FILE *to, const struct judgement *v)
{
  fprintf(to, "replayed %" PRIu64 " of %" PRIu64 " calls of %zu process%s on ", v->replayed, v->calls, v->jobs->count,
          v->jobs->count == 1 ? "" : "es");
  text_to_stream(to, v->options->module);
  if (v->differences == 0)
    fputs(": no difference", to);
  else
    fprintf(to, ": %" PRIu64 " difference%s of %" PRIu64 " kind%s", v->differences, plural(v->differences),
            v->different_kinds, plural(v->different_kinds));
  if (v->expected > 0) fprintf(to, ", %" PRIu64 " expected", v->expected);
  if (v->outcome[OUTCOME_INCOMPARABLE] > 0)
    fprintf(to, ", %" PRIu64 " not comparable", v->outcome[OUTCOME_INCOMPARABLE]);
  if (v->outcome[OUTCOME_WITHHELD] > 0) fprintf(to, ", %" PRIu64 " withheld", v->outcome[OUTCOME_WITHHELD]);
  fputc('\n', to);
  if (v->prepared > 0) fprintf(to, "made %" PRIu64 " object%s on the token first\n", v->prepared, plural(v->prepared));
  size_t sealed = 0;
  for (size_t i = 0; i < v->jobs->count; i++) {
    const struct job *job = &v->jobs->job[i];
    sealed += job->sealed;
    if (job->results != NULL && job->results->prepared_text[0] != '\0')
      fprintf(to, "%s\n", job->results->prepared_text);
  }
  if (sealed > 0)
    fprintf(to, "sealed values of %zu process%s stay closed, others stand in for them: give --key\n", sealed,
            sealed == 1 ? "" : "es");
}

static bool broken(const struct result_kind *kind)
{
  return strcmp(kind->first.place, PLACE_CALL) == 0;
}

static void kind_line(FILE *to, const struct judgement *v, const struct judgement_kind *k)
{
  fprintf(to, "  %6" PRIu64 "  %s ", k->count, judgement_function(k->kind));
  if (k->kind->outcome != OUTCOME_DIFFERENT)
    fprintf(to, "%s", k->kind->reason);
  else if (broken(k->kind))
    fprintf(to, "%s", k->kind->first.replayed);
  else
    fprintf(to, "%s [%s -> %s]", k->kind->first.place, k->kind->first.recorded, k->kind->first.replayed);
  fprintf(to, "  (%s#%" PRIu64, k->count > 1 ? "first " : "", k->kind->call);
  if (v->jobs->count > 1) {
    fputs(" of ", to);
    text_to_stream(to, k->job->trace);
  }
  fputs(")\n", to);
  if (k->expected != NULL) {
    fputs("          expected: ", to);
    text_to_stream(to, k->expected->reason);
    fputc('\n', to);
  }
}

static void kinds(FILE *to, const struct judgement *v, const char *title, enum outcome outcome, bool expected)
{
  size_t lines = 0;
  for (size_t i = 0; i < v->kinds; i++) {
    const struct judgement_kind *k = &v->kind[i];
    if (k->kind->outcome != outcome || (k->expected != NULL) != expected) continue;
    if (lines == 0) fprintf(to, "\n%s\n", title);
    if (lines++ < KINDS_SHOWN) kind_line(to, v, k);
  }
  if (lines > KINDS_SHOWN) fprintf(to, "          and %zu more kinds; --json has all\n", lines - KINDS_SHOWN);
}

static void job_line(FILE *to, const struct job *job, const char *what)
{
  fputs("  ", to);
  text_to_stream(to, job->trace);
  fputs(": ", to);
  text_to_stream(to, what);
  fputc('\n', to);
}

/* What was not replayed, and what of the traces is lost. */
static void troubles(FILE *to, const struct judgement *v)
{
  bool any = false;
  for (size_t i = 0; i < v->jobs->count; i++) {
    const struct job *job = &v->jobs->job[i];
    const char *why = judgement_could_not(job);
    const bool ended = job->results != NULL && job->results->stopped[0] != '\0' && why == NULL;
    if (why == NULL && job->broke[0] == '\0' && job->lost[0] == '\0' && !ended) continue;
    if (!any) fputs("\nnot all of it:\n", to);
    any = true;
    if (job->broke[0] != '\0') job_line(to, job, job->broke);
    if (why != NULL) job_line(to, job, why);
    if (ended) job_line(to, job, job->results->stopped);
    if (job->lost[0] != '\0') job_line(to, job, job->lost);
  }
  if (v->kinds_lost > 0)
    fprintf(to, "\n%" PRIu64 " more differences of kinds for which there was no room\n", v->kinds_lost);
}

static void unused(FILE *to, const struct judgement *v)
{
  if (v->unused == 0) return;
  fprintf(to, "\nexpected, but not met (");
  text_to_stream(to, v->expectations->path);
  fputs("):\n", to);
  for (size_t i = 0; i < v->expectations->count; i++) {
    const struct expectation *e = &v->expectations->at[i];
    if (e->used > 0) continue;
    fprintf(to, "  line %u: ", e->number);
    text_to_stream(to, e->line);
    fputc('\n', to);
  }
}

static void duration(char text[16], uint64_t ns)
{
  if (ns < 1000)
    snprintf(text, 16, "%" PRIu64 " ns", ns);
  else if (ns < 1000000)
    snprintf(text, 16, "%.3g us", (double)ns / 1e3);
  else if (ns < 1000000000)
    snprintf(text, 16, "%.3g ms", (double)ns / 1e6);
  else
    snprintf(text, 16, "%.3g s", (double)ns / 1e9);
}

static void latency_line(FILE *to, const struct judgement_latency *l)
{
  char recorded[16], replayed[16];
  duration(recorded, l->recorded_median);
  duration(replayed, l->replayed_median);
  fprintf(to, "  %8" PRIu64 "  %9s  %9s  ", l->calls, recorded, replayed);
  if (l->recorded_median > 0)
    fprintf(to, "%+6.0f %%", 100.0 * ((double)l->replayed_median / (double)l->recorded_median - 1));
  else
    fputs("        ", to);
  fprintf(to, "  %s", p11_functions[l->function].name);
  if (l->slower)
    fprintf(to, "  SLOWER than +%u %%", l->limit->percent);
  else if (l->limit != NULL && l->calls < SLOW_CALLS)
    fprintf(to, "  too few calls to tell (%d are needed)", SLOW_CALLS);
  else if (l->limit != NULL)
    fprintf(to, "  within +%u %%", l->limit->percent);
  fputc('\n', to);
}

static void latencies(FILE *to, const struct judgement *v, bool all)
{
  if (!all && v->limits == 0) return;
  fputs("\n     calls   recorded   replayed  (medians)\n", to);
  for (size_t i = 0; i < v->latencies; i++)
    if (all || v->latency[i].limit != NULL) latency_line(to, &v->latency[i]);
}

bool replay_print_text(FILE *to, const struct judgement *v, bool latency)
{
  summary(to, v);
  kinds(to, v, "differences, recorded -> replayed:", OUTCOME_DIFFERENT, false);
  kinds(to, v, "expected differences:", OUTCOME_DIFFERENT, true);
  kinds(to, v, "not comparable:", OUTCOME_INCOMPARABLE, false);
  kinds(to, v, "withheld:", OUTCOME_WITHHELD, false);
  troubles(to, v);
  unused(to, v);
  if (v->explanation != NULL) fprintf(to, "\n%s", v->explanation);
  latencies(to, v, latency);
  return !ferror(to);
}
