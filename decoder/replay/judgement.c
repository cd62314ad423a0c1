#include "decoder/replay/judgement.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/cmd.h"

const char *judgement_could_not(const struct job *job)
{
  if (job->refused[0] != '\0') return job->refused;
  if (job->interrupted) return "it was interrupted";
  if (job->results == NULL) return "it was not begun";
  if (job->results->error[0] != '\0') return job->results->error;
  if (job->results->guarded) return job->results->stopped;
  return NULL;
}

const char *judgement_function(const struct result_kind *kind)
{
  return kind->function < P11_FUNCTIONS ? p11_functions[kind->function].name : "a function";
}

static bool same(const struct result_kind *a, const struct result_kind *b)
{
  if (a->function != b->function || a->outcome != b->outcome) return false;
  if (a->outcome != OUTCOME_DIFFERENT) return strcmp(a->reason, b->reason) == 0;
  if (strcmp(a->first.place, b->first.place) != 0) return false;
  return strcmp(a->first.place, "rv") != 0 ||
         (strcmp(a->first.recorded, b->first.recorded) == 0 && strcmp(a->first.replayed, b->first.replayed) == 0);
}

static void add_kind(struct judgement *v, const struct job *job, const struct result_kind *kind)
{
  for (size_t i = 0; i < v->kinds; i++) {
    if (!same(v->kind[i].kind, kind)) continue;
    v->kind[i].count += kind->count;
    return;
  }
  v->kind = read_realloc(v->kind, (v->kinds + 1) * sizeof *v->kind);
  v->kind[v->kinds++] = (struct judgement_kind){.kind = kind, .job = job, .count = kind->count};
}

static void add_job(struct judgement *v, const struct job *job)
{
  v->calls += job->calls;
  if (judgement_could_not(job) != NULL) v->could_not++;
  if (job->results == NULL) return;
  v->done += job->results->calls;
  for (int i = 0; i < 4; i++) v->outcome[i] += job->results->outcome[i];
  v->kinds_lost += job->results->kinds_lost;
  v->prepared += job->results->prepared;
  for (unsigned i = 0; i < job->results->kinds; i++) add_kind(v, job, &job->results->kind[i]);
}

static void judge_kinds(struct judgement *v)
{
  for (size_t i = 0; i < v->kinds; i++) {
    struct judgement_kind *k = &v->kind[i];
    if (k->kind->outcome != OUTCOME_DIFFERENT) continue;
    k->expected = v->expectations != NULL ? expect_find(v->expectations, k->kind) : NULL;
    if (k->expected != NULL) {
      k->expected->used += k->count;
      v->expected += k->count;
      v->expected_kinds++;
    } else {
      v->differences += k->count;
      v->different_kinds++;
    }
  }
  for (size_t i = 0; v->expectations != NULL && i < v->expectations->count; i++)
    v->unused += v->expectations->at[i].used == 0;
}

static void judge_latency(struct judgement *v, int function)
{
  uint32_t recorded[RESULTS_BUCKETS] = {0}, replayed[RESULTS_BUCKETS] = {0};
  struct judgement_latency l = {.function = function};
  for (size_t i = 0; i < v->jobs->count; i++) {
    const struct results *r = v->jobs->job[i].results;
    if (r == NULL) continue;
    const struct result_latency *of = &r->latency[function];
    l.calls += of->calls;
    l.recorded_ns += of->recorded_ns;
    l.replayed_ns += of->replayed_ns;
    for (int k = 0; k < RESULTS_BUCKETS; k++) {
      recorded[k] += of->recorded[k];
      replayed[k] += of->replayed[k];
    }
  }
  for (size_t i = 0; i < v->limits; i++)
    if (v->limit[i].function == function) l.limit = &v->limit[i];
  if (l.calls == 0 && l.limit == NULL) return;
  l.recorded_median = results_median(recorded);
  l.replayed_median = results_median(replayed);
  l.slower = l.limit != NULL && l.calls >= SLOW_CALLS &&
             (double)l.replayed_median > (double)l.recorded_median * (1 + l.limit->percent / 100.0);
  v->slower += l.slower;
  v->latency[v->latencies++] = l;
}

void judgement_make(struct judgement *v)
{
  for (size_t i = 0; i < v->jobs->count; i++) add_job(v, &v->jobs->job[i]);
  v->replayed = v->outcome[OUTCOME_SAME] + v->outcome[OUTCOME_DIFFERENT] + v->outcome[OUTCOME_INCOMPARABLE];
  judge_kinds(v);
  for (int i = 0; i < P11_FUNCTIONS; i++) judge_latency(v, i);
  v->status = EXIT_FINE;
  if (v->differences > 0 || v->kinds_lost > 0 || v->unused > 0 || v->slower > 0) v->status = EXIT_FOUND;
  bool lost = v->jobs->failed;
  for (size_t i = 0; i < v->jobs->count; i++) lost = lost || v->jobs->job[i].lost[0] != '\0';
  if (v->could_not > 0 || lost) v->status = EXIT_COULD_NOT;
}

void judgement_free(struct judgement *v)
{
  free(v->kind);
  free(v->explanation);
}
