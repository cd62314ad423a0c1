#include "decoder/check/catalogue.h"

#include <string.h>

#include "decoder/check/json.h"
#include "decoder/rules/rules.h"

static const char *seen_in(enum see see)
{
  switch (see) {
    case SEE_CALL: return "other callers";
    case SEE_PROBE: return "a probe";
    case SEE_DEVICE: return "removal";
    case SEE_VALUES: return "values";
    default: return "NSS's calls";
  }
}

static bool wanted(const struct rule *rule, const char *const *only, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (rule_by_id(only[i]) == rule) return true;
  return !count;
}

/* Bars would end a cell. */
static void cell(FILE *to, const char *text)
{
  fputs("| ", to);
  for (; *text; text++) {
    if (*text == '|') fputc('\\', to);
    fputc(*text, to);
  }
  fputc(' ', to);
}

static void row(FILE *to, const char *const *text, size_t count)
{
  for (size_t i = 0; i < count; i++) cell(to, text[i]);
  fputs("|\n", to);
}

static void text_line(FILE *to, const struct rule *r)
{
  fprintf(to, "%-13s %-8s %-7s %-13s %-8s %s\n", r->id, severity_name(r->severity), fault_name(r->fault),
          seen_in(r->see), *r->faq ? r->faq : "-", r->statement);
}

static void markdown_line(FILE *to, const struct rule *r)
{
  const char *const text[] = {r->id, severity_name(r->severity), fault_name(r->fault), *r->faq ? r->faq : "",
                              r->statement};
  row(to, text, sizeof text / sizeof *text);
}

static json_t *as_json(const struct rule *r)
{
  return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "rule", r->id, "severity",
                   severity_name(r->severity), "fault", fault_name(r->fault), "faq", r->faq, "core", (int)r->core,
                   "seen", seen_in(r->see), "statement", r->statement, "quote", r->quote, "source", r->source,
                   "observed", r->observed, "symptom", r->symptom, "advice", r->advice);
}

bool catalogue_print(FILE *to, enum catalogue_form form, const char *const *only, size_t count)
{
  static const char *const head[] = {"Rule", "Severity", "Fault", "FAQ", "What is right"};
  static const char *const line[] = {"---", "---", "---", "---", "---"};
  json_t *all = form == CATALOGUE_JSON ? json_array() : NULL;
  if (form == CATALOGUE_MARKDOWN) {
    row(to, head, sizeof head / sizeof *head);
    row(to, line, sizeof line / sizeof *line);
  }
  for (size_t i = 0; i < RULE_COUNT; i++) {
    if (!wanted(&rules[i], only, count)) continue;
    if (form == CATALOGUE_JSON)
      json_array_append_new(all, as_json(&rules[i]));
    else if (form == CATALOGUE_MARKDOWN)
      markdown_line(to, &rules[i]);
    else
      text_line(to, &rules[i]);
  }
  return form == CATALOGUE_JSON ? check_json_write(to, all) : !ferror(to);
}

/* --- the FAQ ---------------------------------------------------------------------------------- */

static const struct {
  unsigned number;
  const char *question, *unseen;
} faq[] = {
#define FAQ(number, question, unseen) {number, question, unseen},
#include "decoder/rules/faq.def"
#undef FAQ
};

/* "Q10,Q16" has Q1 not. */
static bool answers(const struct rule *rule, unsigned number)
{
  char name[8];
  const size_t n = (size_t)snprintf(name, sizeof name, "Q%u", number);
  for (const char *at = rule->faq; (at = strstr(at, name)); at += n)
    if (at[n] == 0 || at[n] == ',') return true;
  return false;
}

static json_t *question_json(size_t i)
{
  json_t *ids = json_array();
  for (size_t r = 0; r < RULE_COUNT; r++)
    if (answers(&rules[r], faq[i].number)) json_array_append_new(ids, json_string(rules[r].id));
  return json_pack("{s:i, s:s, s:o, s:s}", "question", (int)faq[i].number, "text", faq[i].question, "rules", ids,
                   "unseen", faq[i].unseen);
}

static void question_line(FILE *to, enum catalogue_form form, size_t i)
{
  char ids[RULE_COUNT * 16] = "", number[8];
  size_t used = 0;
  for (size_t r = 0; r < RULE_COUNT; r++)
    if (answers(&rules[r], faq[i].number)) note_append(ids, sizeof ids, &used, "%s%s", used ? " " : "", rules[r].id);
  if (form == CATALOGUE_MARKDOWN) {
    snprintf(number, sizeof number, "Q%u", faq[i].number);
    const char *const text[] = {number, faq[i].question, ids, faq[i].unseen};
    row(to, text, sizeof text / sizeof *text);
    return;
  }
  fprintf(to, "Q%-2u %s\n", faq[i].number, faq[i].question);
  fprintf(to, "    rules: %s\n", *ids ? ids : "none");
  if (*faq[i].unseen) fprintf(to, "    not in a trace: %s\n", faq[i].unseen);
}

bool catalogue_coverage(FILE *to, enum catalogue_form form)
{
  static const char *const head[] = {"Question", "", "Rules", "What no trace shows"};
  static const char *const line[] = {"---", "---", "---", "---"};
  json_t *all = form == CATALOGUE_JSON ? json_array() : NULL;
  if (form == CATALOGUE_MARKDOWN) {
    row(to, head, sizeof head / sizeof *head);
    row(to, line, sizeof line / sizeof *line);
  }
  for (size_t i = 0; i < sizeof faq / sizeof *faq; i++) {
    if (form == CATALOGUE_JSON)
      json_array_append_new(all, question_json(i));
    else
      question_line(to, form, i);
  }
  return form == CATALOGUE_JSON ? check_json_write(to, all) : !ferror(to);
}
