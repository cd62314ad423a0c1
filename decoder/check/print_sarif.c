/* Findings as SARIF 2.1.0 (OASIS Static Analysis Results Interchange Format), for what collects reports of CI runs.
 *
 * One run; all rules stand in the driver, so that a viewer can say what was looked for; a finding is a result. A trace has
 * no lines: the place of a result is the trace file, the module and slot are logical locations, and each call of the
 * evidence is a related location whose message is the line that the text output has. */
#include <string.h>

#include "decoder/check/json.h"
#include "decoder/rules/rules.h"
#include "shim/trace/version.h"

static json_t *message(const char *s)
{
  return json_pack("{s:o}", "text", check_json_text(s));
}

/* A path as a URI reference (RFC 3986): what is not unreserved or a slash is percent-encoded. */
static json_t *uri(const char *path)
{
  char out[3 * 4096 + 1];
  size_t used = 0;
  for (const uint8_t *p = (const uint8_t *)path; *p && used + 4 < sizeof out; p++) {
    if ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || strchr("-._~/", *p))
      out[used++] = (char)*p;
    else
      used += (size_t)snprintf(out + used, 4, "%%%02X", *p);
  }
  out[used] = 0;
  return json_pack("{s:s}", "uri", out);
}

static const char *level(enum severity severity)
{
  return severity == SEVERITY_ERROR ? "error" : severity == SEVERITY_WARNING ? "warning" : "note";
}

static json_t *descriptor(const struct rule *r)
{
  char help[3000];
  size_t used = 0;
  note_append(help, sizeof help, &used, "%s %s Observed: %s What to change: %s", r->symptom, r->source, r->observed,
              r->advice);
  return json_pack("{s:s, s:o, s:o, s:o, s:{s:s}, s:{s:s, s:s, s:b, s:s}}", "id", r->id, "shortDescription",
                   message(r->statement), "fullDescription", message(*r->quote ? r->quote : r->statement), "help",
                   message(help), "defaultConfiguration", "level", level(r->severity), "properties", "faq", r->faq,
                   "fault", fault_name(r->fault), "core", (int)r->core, "source", r->source);
}

static json_t *place(const struct finding *f, const struct note *note, const char *words)
{
  char name[400];
  const char *path = note && note->process && note->process->path ? note->process->path : "";
  json_t *j = json_object();
  if (*path) json_object_set_new(j, "physicalLocation", json_pack("{s:o}", "artifactLocation", uri(path)));
  size_t used = 0;
  note_append(name, sizeof name, &used, "%s", *f->module ? f->module : "module");
  if (f->has_slot) note_append(name, sizeof name, &used, "/slot %llu", (unsigned long long)f->slot);
  json_object_set_new(
      j, "logicalLocations",
      json_pack("[{s:o, s:s}]", "fullyQualifiedName", check_json_text(name), "kind", f->has_slot ? "slot" : "module"));
  if (words) json_object_set_new(j, "message", message(words));
  return j;
}

static json_t *related(const struct finding *f)
{
  json_t *list = json_array();
  char line[1200];
  for (unsigned i = 0; i < f->evidences; i++) {
    const struct evidence *e = &f->evidence[i];
    note_text(&e->note, line, sizeof line);
    size_t used = strlen(line);
    if (e->detail) note_append(line, sizeof line, &used, " (%s)", e->detail);
    json_t *j = place(f, &e->note, line);
    json_object_set_new(j, "id", json_integer((json_int_t)i + 1));
    json_object_set_new(j, "properties",
                        json_pack("{s:I, s:I}", "call", (json_int_t)e->note.number, "pid",
                                  (json_int_t)(e->note.process ? e->note.process->pid : 0)));
    json_array_append_new(list, j);
  }
  return list;
}

static json_t *result(const struct finding *f)
{
  char key[20];
  snprintf(key, sizeof key, "%016llx", (unsigned long long)f->key);
  const struct note *first = f->evidences ? &f->evidence[0].note : NULL;
  return json_pack("{s:s, s:i, s:s, s:o, s:[o], s:o, s:{s:s}, s:I, s:{s:s, s:o, s:o, s:I}}", "ruleId", f->rule->id,
                   "ruleIndex", (int)(f->rule - rules), "level", level(f->severity), "message", message(f->sentence),
                   "locations", place(f, first, NULL), "relatedLocations", related(f), "partialFingerprints",
                   "p11trace/v1", key, "occurrenceCount", (json_int_t)(f->count ? f->count : 1), "properties", "fault",
                   fault_name(f->fault), "token", check_json_text(f->token), "serial", check_json_text(f->serial),
                   "pid", (json_int_t)f->pid);
}

bool check_print_sarif(FILE *to, struct finding *const *list, size_t count)
{
  json_t *descriptors = json_array(), *results = json_array();
  for (size_t i = 0; i < RULE_COUNT; i++) json_array_append_new(descriptors, descriptor(&rules[i]));
  for (size_t i = 0; i < count; i++) json_array_append_new(results, result(list[i]));
  json_t *all = json_pack("{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:s, s:o}]}", "$schema",
                          "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
                          "version", "2.1.0", "runs", "tool", "driver", "name", "p11trace", "version", P11T_VERSION,
                          "rules", descriptors, "columnKind", "unicodeCodePoints", "results", results);
  return check_json_write(to, all);
}
