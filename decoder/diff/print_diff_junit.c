/* JUnit XML for CI: a test case for each function that was called, and one for the processes. */
#include <inttypes.h>
#include <string.h>

#include "decoder/diff/result.h"
#include "decoder/show/text.h"

static bool counts(const struct found_kind *k, unsigned function)
{
  return k->function == function && k->kind != DIFFERENT_DESCRIPTION;
}

static bool failed(const struct diff_result *r, unsigned function)
{
  for (unsigned i = 0; i < r->found.kinds; i++)
    if (counts(&r->found.kind[i], function)) return true;
  const struct found_function *f = &r->found.function[function]; /* of kinds that were not kept */
  return f->answers + f->arguments + f->only[SIDE_A] + f->only[SIDE_B] > 0;
}

static void kind_lines(FILE *to, const struct found_kind *k)
{
  enum { PLACES = 8 };
  struct place place[PLACES];
  fprintf(to, "%s, %" PRIu64 " time%s\n", result_sentence(k->kind), k->count, k->count == 1 ? "" : "s");
  const size_t count = result_places(k, place, PLACES);
  for (size_t i = 0; i < count; i++) {
    const struct part *a = place[i].part[SIDE_A], *b = place[i].part[SIDE_B];
    text_to_xml(to, (a ? a : b)->place);
    fputs(": ", to), text_to_xml(to, a ? a->text : "(nothing)");
    fputs(" -&gt; ", to), text_to_xml(to, b ? b->text : "(nothing)");
    fputc('\n', to);
  }
  for (int side = 0; side < SIDES; side++)
    if (k->call[side].line) fprintf(to, "%c ", "AB"[side]), text_to_xml(to, k->call[side].line), fputc('\n', to);
}

static void function_case(FILE *to, const struct diff_result *r, unsigned function)
{
  fprintf(to, "    <testcase classname=\"p11trace.diff\" name=\"%s\" time=\"0\"", found_function_name(function));
  if (!failed(r, function)) {
    fputs("/>\n", to);
    return;
  }
  const bool is_first = r->found.first >= 0 && r->found.kind[r->found.first].function == function;
  fprintf(to, ">\n      <failure type=\"difference\" message=\"%s\">", is_first ? "the first difference" : "different");
  if (is_first) kind_lines(to, &r->found.kind[r->found.first]);
  for (unsigned i = 0; i < r->found.kinds; i++)
    if (counts(&r->found.kind[i], function) && (int)i != r->found.first) kind_lines(to, &r->found.kind[i]);
  fputs("</failure>\n    </testcase>\n", to);
}

static void process_case(FILE *to, const struct diff_result *r)
{
  fputs("    <testcase classname=\"p11trace.diff\" name=\"processes and modules\" time=\"0\"", to);
  if (!r->lonelies) {
    fputs("/>\n", to);
    return;
  }
  fputs(">\n      <failure type=\"difference\" message=\"in one trace only\">", to);
  for (size_t i = 0; i < r->lonelies; i++) {
    fprintf(to, "in %c only: ", "AB"[r->lonely[i].side]);
    text_to_xml(to, r->lonely[i].process->program);
    if (r->lonely[i].module) fputs(", ", to), text_to_xml(to, r->lonely[i].module->path);
    fputc('\n', to);
  }
  fputs("</failure>\n    </testcase>\n", to);
}

bool print_diff_junit(FILE *to, const struct diff_result *r)
{
  unsigned tests = 1, failures = r->lonelies > 0, errors = r->damaged;
  for (unsigned i = 0; i <= P11_FUNCTIONS; i++) {
    const struct found_function *f = &r->found.function[i];
    if (f->calls[SIDE_A] + f->calls[SIDE_B] == 0) continue;
    tests++;
    failures += failed(r, i);
  }
  fprintf(to,
          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
          "  <testsuite name=\"p11trace diff\" tests=\"%u\" failures=\"%u\" errors=\"%u\" skipped=\"0\" time=\"0\">\n",
          tests + errors, failures, errors);
  process_case(to, r);
  for (unsigned i = 0; i <= P11_FUNCTIONS; i++) {
    const struct found_function *f = &r->found.function[i];
    if (f->calls[SIDE_A] + f->calls[SIDE_B]) function_case(to, r, i);
  }
  if (errors)
    fputs(
        "    <testcase classname=\"p11trace.diff\" name=\"traces\" time=\"0\">\n"
        "      <error message=\"bytes of a trace are lost\"/>\n    </testcase>\n",
        to);
  fputs("  </testsuite>\n</testsuites>\n", to);
  return !ferror(to);
}
