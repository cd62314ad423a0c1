/* What was found: one finding for one cause, counted, with the evidence of its first time. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/read/arena.h"
#include "decoder/rules/rules.h"

#define PER_RULE 256 /* different findings of one rule; more say nothing new */

static void drop_evidence(struct finding *f)
{
  for (unsigned i = 0; i < f->evidences; i++) free(f->evidence[i].detail);
  f->evidences = 0;
}

void findings_clear(struct findings *findings)
{
  for (size_t i = 0; i < findings->count; i++) {
    struct finding *f = findings->list[i];
    drop_evidence(f);
    free(f->module);
    free(f->module_path);
    free(f->program);
    free(f->token);
    free(f->serial);
    free(f->sentence);
    free(f->hint);
    free(f);
  }
  free(findings->list);
  table_clear(&findings->by_key, NULL);
}

/* A rule of both sides speaks of the module unless it says otherwise. */
static enum fault default_fault(const struct rule *rule)
{
  return rule->fault == FAULT_BOTH ? FAULT_MODULE : rule->fault;
}

static const struct model_slot *slot_of(const struct check *check, const struct finding_options *o)
{
  return o->no_slot ? NULL : o->slot ? o->slot : check->place.slot;
}

static const struct model_module *module_of(const struct check *check, const struct finding_options *o)
{
  const struct model_slot *slot = slot_of(check, o);
  return slot ? slot->module : check->place.module;
}

static uint64_t full_key(const struct check *check, const struct finding_options *o, uint64_t key)
{
  const char *path = model_module_path(module_of(check, o));
  const struct model_slot *slot = slot_of(check, o);
  const uint64_t part[] = {(uint64_t)(check->rule - rules), o->fault, pick_hash(path, strlen(path)),
                           slot ? slot->id + 1 : 0, key};
  return pick_hash(part, sizeof part);
}

/* The token's name may become known after the first time. */
static void name_token(struct finding *f, const struct model_slot *slot)
{
  if (!slot || !slot->token.known || *f->token || *f->serial) return;
  free(f->token);
  free(f->serial);
  f->token = read_strdup(slot->token.label);
  f->serial = read_strdup(slot->token.serial);
}

static struct finding *make(struct check *check, const struct finding_options *o, uint64_t key)
{
  struct findings *s = checker_store(check->checker);
  struct finding *f = model_alloc(sizeof *f);
  const struct model_slot *slot = slot_of(check, o);
  const struct process *process = check->event->process;
  const char *program = process->program ? process->program : "";
  f->rule = check->rule;
  f->fault = o->fault;
  f->key = key;
  f->module = read_strdup(model_module_name(module_of(check, o)));
  f->module_path = read_strdup(model_module_path(module_of(check, o)));
  f->program = read_strdup(program);
  f->pid = process->pid;
  f->token = read_strdup("");
  f->serial = read_strdup("");
  f->has_slot = slot != NULL;
  if (slot) f->slot = slot->id;
  if (s->count == s->room) {
    s->room = s->room ? s->room * 2 : 16;
    s->list = read_realloc(s->list, s->room * sizeof *s->list);
  }
  s->list[s->count++] = f;
  s->per_rule[check->rule - rules]++;
  table_put(&s->by_key, key, f);
  return f;
}

static struct finding *explanation(const struct check *check, enum cause cause)
{
  const struct findings *s = checker_store(check->checker);
  for (unsigned i = 0; cause && i < s->causes; i++)
    if ((s->cause[i].cause == cause || cause == CAUSE_CODE) && s->cause[i].finding->rule != check->rule)
      return s->cause[i].finding;
  return NULL;
}

bool finding_explained(const struct check *check, enum cause cause)
{
  return explanation(check, cause) != NULL;
}

/* When that happened which is being looked at: ns since the origin of times. */
static uint64_t time_of(const struct check *check)
{
  const struct model_process *p = check->place.process;
  const uint64_t at = check->call ? check->call->start : check->seen ? check->seen->note.start : check->event->time;
  return at > p->origin ? at - p->origin : 0;
}

static struct finding *report(struct check *check, const struct finding_options *given, enum severity severity,
                              uint64_t key, const char *format, va_list args)
{
  struct findings *s = checker_store(check->checker);
  struct finding_options o = *given;
  if (!o.fault) o.fault = default_fault(check->rule);
  struct finding *before = explanation(check, o.cause);
  if (before) {
    before->also[check->rule - rules] = 1;
    return NULL;
  }
  const uint64_t full = full_key(check, &o, key);
  struct finding *f = table_get(&s->by_key, full);
  const uint64_t at = time_of(check);
  if (!f) {
    if (s->per_rule[check->rule - rules] >= PER_RULE) {
      s->not_kept++;
      return NULL;
    }
    f = make(check, &o, full);
    f->first = at;
  }
  if (s->causes < sizeof s->cause / sizeof *s->cause) {
    s->cause[s->causes].cause = o.cause;
    s->cause[s->causes++].finding = f;
  }
  if (!o.same || !f->count) f->count++;
  f->last = at;
  f->last_pid = check->event->process->pid;
  if (f->last_process != check->event->process->index + 1) {
    f->last_process = check->event->process->index + 1;
    f->processes++;
  }
  name_token(f, slot_of(check, &o));
  if (severity <= f->severity) return NULL;
  f->severity = severity;
  drop_evidence(f);
  free(f->sentence);
  free(f->hint);
  f->hint = NULL;
  f->sentence = read_vasprintf(format, args);
  return f;
}

struct finding *finding_report(struct check *check, enum severity severity, uint64_t key, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  struct finding *f = report(check, &(struct finding_options){0}, severity, key, format, args);
  va_end(args);
  return f;
}

struct finding *finding_report_as(struct check *check, const struct finding_options *options, enum severity severity,
                                  uint64_t key, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  struct finding *f = report(check, options, severity, key, format, args);
  va_end(args);
  return f;
}

bool finding_advised(const struct finding *finding)
{
  return finding->fault == default_fault(finding->rule);
}

void finding_say(struct check *check, uint64_t key, const char *format, ...)
{
  const struct finding_options o = {.fault = default_fault(check->rule)};
  struct finding *f = table_get(&checker_store(check->checker)->by_key, full_key(check, &o, key));
  if (!f) return;
  va_list args;
  va_start(args, format);
  free(f->sentence);
  f->sentence = read_vasprintf(format, args);
  va_end(args);
}

static void add(struct finding *f, const struct note *note, const char *format, va_list args)
{
  if (!f || !note->number || f->evidences == EVIDENCE_MAX) return;
  struct evidence *e = &f->evidence[f->evidences++];
  e->note = *note;
  e->detail = format ? read_vasprintf(format, args) : NULL;
}

void finding_note(struct finding *finding, const struct note *note, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  add(finding, note, format, args);
  va_end(args);
}

void finding_call(struct finding *finding, struct check *check, const char *format, ...)
{
  if (!finding) return;
  struct note note = {0};
  if (check->call)
    model_note(&check->place, &note, check->call);
  else if (check->seen)
    note = check->seen->note;
  va_list args;
  va_start(args, format);
  add(finding, &note, format, args);
  va_end(args);
}

void finding_caller(struct finding *finding, struct check *check)
{
  char where[300] = "";
  if (finding && check->call->caller) trace_address(check->event->process, check->call->caller, where, sizeof where);
  finding_call(finding, check, *where ? "called from %s" : "%s", *where ? where : "caller unknown");
}

void finding_hint(struct finding *finding, const char *format, ...)
{
  if (!finding) return;
  va_list args;
  va_start(args, format);
  free(finding->hint);
  finding->hint = read_vasprintf(format, args);
  va_end(args);
}

void finding_hint_proxy(struct finding *finding, const struct check *check)
{
  const struct model_module *m = check->place.module;
  if (model_is_proxy(m)) finding_hint(finding, "%s may have answered for the module behind it", model_module_name(m));
}
