/* What a replay found as one JSON object; decoder/replay/README.md describes it. */
#include "decoder/check/json.h"
#include "decoder/replay/judgement.h"
#include "decoder/show/json.h"

static const char *const mode_name[] = {"serial", "relay", "free"};

static json_t *object(void)
{
  return json_object();
}

static void number(json_t *o, const char *key, uint64_t value)
{
  json_put(o, key, json_number(value));
}

static void text(json_t *o, const char *key, const char *value)
{
  json_put(o, key, check_json_text(value));
}

static json_t *process(const struct job *job)
{
  json_t *o = object();
  text(o, "trace", job->trace);
  text(o, "program", job->program);
  number(o, "pid", job->pid);
  text(o, "recorded_module", job->chosen);
  number(o, "calls", job->calls);
  static const char *const key[] = {"same", "different", "not_comparable", "withheld"};
  for (int i = 0; i < 4; i++) number(o, key[i], job->results != NULL ? job->results->outcome[i] : 0);
  number(o, "nanoseconds", job->nanoseconds);
  if (job->results != NULL && job->results->first_difference != 0)
    number(o, "first_difference", job->results->first_difference);
  if (job->results != NULL && job->results->prepared > 0) number(o, "prepared", job->results->prepared);
  if (job->results != NULL && job->results->prepared_text[0] != '\0') text(o, "prepare", job->results->prepared_text);
  if (job->sealed) json_put(o, "sealed", json_true());
  if (job->results != NULL && job->results->stopped[0] != '\0') text(o, "stopped", job->results->stopped);
  if (job->broke[0] != '\0') text(o, "broke", job->broke);
  if (job->lost[0] != '\0') text(o, "lost", job->lost);
  const char *why = judgement_could_not(job);
  if (why != NULL) text(o, "could_not", why);
  return o;
}

static json_t *kinds(const struct judgement *v, enum outcome outcome)
{
  json_t *list = json_array();
  for (size_t i = 0; i < v->kinds; i++) {
    const struct judgement_kind *k = &v->kind[i];
    if (k->kind->outcome != outcome) continue;
    json_t *o = object();
    text(o, "function", judgement_function(k->kind));
    if (outcome == OUTCOME_DIFFERENT) {
      text(o, "place", k->kind->first.place);
      text(o, "recorded", k->kind->first.recorded);
      text(o, "replayed", k->kind->first.replayed);
      if (k->expected != NULL) text(o, "expected", k->expected->reason);
    } else {
      text(o, "reason", k->kind->reason);
    }
    number(o, "count", k->count);
    number(o, "call", k->kind->call);
    text(o, "trace", k->job->trace);
    json_add(list, o);
  }
  return list;
}

static json_t *latencies(const struct judgement *v)
{
  json_t *list = json_array();
  for (size_t i = 0; i < v->latencies; i++) {
    const struct judgement_latency *l = &v->latency[i];
    json_t *o = object();
    text(o, "function", p11_functions[l->function].name);
    number(o, "calls", l->calls);
    number(o, "recorded_ns", l->recorded_ns);
    number(o, "replayed_ns", l->replayed_ns);
    number(o, "recorded_median_ns", l->recorded_median);
    number(o, "replayed_median_ns", l->replayed_median);
    if (l->limit != NULL) {
      number(o, "max_slowdown_percent", l->limit->percent);
      json_put(o, "compared", json_boolean(l->calls >= SLOW_CALLS));
      json_put(o, "slower", json_boolean(l->slower));
    }
    json_add(list, o);
  }
  return list;
}

static json_t *expected(const struct expectations *x)
{
  json_t *list = json_array();
  for (size_t i = 0; i < x->count; i++) {
    json_t *o = object();
    number(o, "line", x->at[i].number);
    text(o, "text", x->at[i].line);
    text(o, "reason", x->at[i].reason);
    number(o, "used", x->at[i].used);
    json_add(list, o);
  }
  return list;
}

bool replay_print_json(FILE *to, const struct judgement *v)
{
  json_t *o = object();
  text(o, "module", v->options->module);
  text(o, "mode", mode_name[v->options->mode]);
  number(o, "status", (uint64_t)v->status);
  number(o, "calls", v->calls);
  number(o, "replayed", v->replayed);
  number(o, "differences", v->differences);
  number(o, "expected_differences", v->expected);
  number(o, "not_comparable", v->outcome[OUTCOME_INCOMPARABLE]);
  number(o, "withheld", v->outcome[OUTCOME_WITHHELD]);
  number(o, "processes_passed_over", v->jobs->passed_over);
  json_t *list = json_array();
  for (size_t i = 0; i < v->jobs->count; i++) json_add(list, process(&v->jobs->job[i]));
  json_put(o, "processes", list);
  json_put(o, "difference_kinds", kinds(v, OUTCOME_DIFFERENT));
  json_put(o, "not_comparable_kinds", kinds(v, OUTCOME_INCOMPARABLE));
  json_put(o, "withheld_kinds", kinds(v, OUTCOME_WITHHELD));
  json_put(o, "latency", latencies(v));
  if (v->expectations != NULL) json_put(o, "expectations", expected(v->expectations));
  if (v->explanation != NULL) text(o, "explanation", v->explanation);
  return check_json_write(to, o);
}
