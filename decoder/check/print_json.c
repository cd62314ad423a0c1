/* Findings as JSON: one object, keys sorted, so that two runs compare. */
#include "decoder/check/json.h"
#include "decoder/model/idiom.h"
#include "decoder/rules/rules.h"

static json_t *evidence_json(const struct evidence *e)
{
  char line[600], code[24];
  const struct note *n = &e->note;
  note_text(n, line, sizeof line);
  json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:f, s:s, s:s, s:s}", "call", (json_int_t)n->number, "return",
                        (json_int_t)n->end_number, "pid", (json_int_t)n->process->pid, "tid", (json_int_t)n->tid,
                        "time", (double)n->offset / 1e9, "function", n->known >= 0 ? p11_functions[n->known].name : "",
                        "rv", note_rv(n->rv, code), "text", line);
  if (e->detail) json_object_set_new(j, "detail", check_json_text(e->detail));
  if (n->idiom) json_object_set_new(j, "idiom", json_string(idiom_text(n->idiom)));
  return j;
}

static json_t *finding_json(const struct finding *f)
{
  json_t *evidence = json_array(), *also = json_array();
  for (unsigned i = 0; i < f->evidences; i++) json_array_append_new(evidence, evidence_json(&f->evidence[i]));
  for (size_t i = 0; i < RULE_COUNT; i++)
    if (f->also[i]) json_array_append_new(also, json_string(rules[i].id));
  json_t *j = json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:f, s:f, s:s, s:s, s:s}",
                        "rule", f->rule->id, "severity", severity_name(f->severity), "fault", fault_name(f->fault),
                        "sentence", check_json_text(f->sentence), "statement", f->rule->statement, "program",
                        check_json_text(f->program), "pid", (json_int_t)f->pid, "module",
                        check_json_text(f->module_path), "token", check_json_text(f->token), "serial",
                        check_json_text(f->serial), "evidence", evidence, "count", (json_int_t)f->count, "processes",
                        (json_int_t)f->processes, "first", (double)f->first / 1e9, "last", (double)f->last / 1e9, "faq",
                        f->rule->faq, "symptom", f->rule->symptom, "advice", finding_advised(f) ? f->rule->advice : "");
  if (!j) return NULL;
  json_object_set_new(j, "slot", f->has_slot ? json_integer((json_int_t)f->slot) : json_null());
  json_object_set_new(j, "also", also);
  if (f->hint) json_object_set_new(j, "hint", check_json_text(f->hint));
  if (f->known) json_object_set_new(j, "known", json_string(f->known));
  return j;
}

bool check_print_json(FILE *to, struct finding *const *list, size_t count, const struct check_summary *s)
{
  json_t *findings = json_array();
  for (size_t i = 0; i < count; i++) json_array_append_new(findings, finding_json(list[i]));
  json_t *all =
      json_pack("{s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "findings", findings, "summary", "calls",
                (json_int_t)s->calls, "processes", (json_int_t)s->processes, "rules", (json_int_t)s->rules, "errors",
                (json_int_t)s->errors, "warnings", (json_int_t)s->warnings, "infos", (json_int_t)s->infos);
  return check_json_write(to, all);
}
