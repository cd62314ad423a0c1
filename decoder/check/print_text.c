/* Findings as text. */
#include <inttypes.h>
#include <string.h>

#include "decoder/model/idiom.h"
#include "decoder/rules/rules.h"

#define WIDTH 110

/* `text` in lines of at most WIDTH columns, all but the first indented. `column` is where it begins. */
static void wrapped(FILE *to, const char *text, int column, int indent)
{
  bool first = true;
  while (*text) {
    const int n = (int)strcspn(text, " ");
    if (!first && column + 1 + n > WIDTH) {
      fprintf(to, "\n%*s", indent, "");
      column = indent;
    } else if (!first) {
      fputc(' ', to);
      column++;
    }
    fprintf(to, "%.*s", n, text);
    column += n;
    first = false;
    text += n;
    text += strspn(text, " ");
  }
  fputc('\n', to);
}

static void labelled(FILE *to, const char *label, const char *text)
{
  fprintf(to, "  %s: ", label);
  wrapped(to, text, (int)strlen(label) + 4, 4);
}

static void print_seconds(FILE *to, uint64_t ns)
{
  fprintf(to, "+%" PRIu64 ".%06" PRIu64, ns / 1000000000, ns / 1000 % 1000000);
}

static void print_evidence(FILE *to, const struct finding *f)
{
  char line[600];
  for (unsigned i = 0; i < f->evidences; i++) {
    note_text(&f->evidence[i].note, line, sizeof line);
    fprintf(to, "  %u. %s\n", i + 1, line);
    if (f->evidence[i].detail) fprintf(to, "       %s\n", f->evidence[i].detail);
    const char *idiom = idiom_text(f->evidence[i].note.idiom);
    if (idiom) fprintf(to, "       here %s\n", idiom);
  }
}

static void print_finding(FILE *to, const struct finding *f)
{
  char text[140], program[200], module[600];
  fprintf(to, "%s %s %s", f->rule->id, severity_name(f->severity), fault_name(f->fault));
  if (f->has_slot) fprintf(to, " slot %" PRIu64, f->slot);
  if (*f->token) fprintf(to, " \"%s\"", show_bytes((const uint8_t *)f->token, strlen(f->token), text, sizeof text));
  fprintf(
      to, ": %s\n  %s[%" PRIu32 "], %s", f->sentence,
      *f->program ? show_bytes((const uint8_t *)f->program, strlen(f->program), program, sizeof program) : "process",
      f->pid,
      *f->module_path ? show_bytes((const uint8_t *)f->module_path, strlen(f->module_path), module, sizeof module)
                      : "module unknown");
  if (*f->serial)
    fprintf(to, ", serial %s", show_bytes((const uint8_t *)f->serial, strlen(f->serial), text, sizeof text));
  fputc('\n', to);
  print_evidence(to, f);
  labelled(to, "why NSS cares", f->rule->symptom);
  if (finding_advised(f)) labelled(to, "what to change", f->rule->advice);
  if (f->hint) labelled(to, "possibly", f->hint);
  if (f->known) labelled(to, "known of this module", f->known);
  for (size_t i = 0; i < RULE_COUNT; i++)
    if (f->also[i]) fprintf(to, "  also: %s\n", rules[i].id);
  if (f->count == 1) {
    fputs("  once, ", to);
    print_seconds(to, f->first);
  } else {
    fprintf(to, "  %" PRIu64 " times, first ", f->count);
    print_seconds(to, f->first);
    fputs(", last ", to);
    print_seconds(to, f->last);
    if (f->processes > 1) fprintf(to, " of [%" PRIu32 "], in %u processes", f->last_pid, f->processes);
  }
  fputs("\n\n", to);
}

void check_print_text(FILE *to, struct finding *const *list, size_t count)
{
  for (size_t i = 0; i < count; i++) print_finding(to, list[i]);
}

void check_print_summary(FILE *to, const struct check_summary *s)
{
  fprintf(to, "checked %" PRIu64 " call%s of %zu process%s with %u rule%s: %u error%s, %u warning%s, %u info\n",
          s->calls, s->calls == 1 ? "" : "s", s->processes, s->processes == 1 ? "" : "es", s->rules,
          s->rules == 1 ? "" : "s", s->errors, s->errors == 1 ? "" : "s", s->warnings, s->warnings == 1 ? "" : "s",
          s->infos);
}

void check_explain(FILE *to, const struct rule *r)
{
  fprintf(to, "%s  %s, fault of the %s%s%s%s\n", r->id, severity_name(r->severity), fault_name(r->fault),
          *r->faq ? ", FAQ " : "", r->faq, r->core ? ", core" : "");
  labelled(to, "rule", r->statement);
  labelled(to, "says", r->quote);
  labelled(to, "source", r->source);
  labelled(to, "observed", r->observed);
  labelled(to, "why NSS cares", r->symptom);
  labelled(to, "what to change", r->advice);
}
