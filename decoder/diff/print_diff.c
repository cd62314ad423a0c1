#include <inttypes.h>
#include <string.h>

#include "decoder/diff/result.h"
#include "decoder/show/text.h"

enum { PLACES = 12, OTHERS = 12 };

static const char *base(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static void head(FILE *to, const struct survey *s, char letter)
{
  fprintf(to, "%c  ", letter);
  text_to_stream(to, s->path);
  size_t processes = 0;
  const struct process_seen *one = NULL;
  for (size_t i = 0; i < s->processes; i++) {
    if (!s->process[i].modules) continue;
    one = &s->process[i];
    processes++;
  }
  fprintf(to, ": %" PRIu64 " calls", s->calls);
  if (processes == 1) {
    fputs(" of ", to), text_to_stream(to, one->program);
    fputs(" on ", to), text_to_stream(to, base(one->module[0].path));
  } else {
    fprintf(to, " of %zu processes", processes);
  }
  fputc('\n', to);
}

static const char *text_of(const struct part *part)
{
  return !part ? "(nothing)" : part->text[0] ? part->text : "(no answer)";
}

static void places(FILE *to, const struct found_kind *k, const char *indent)
{
  struct place place[PLACES];
  const size_t count = result_places(k, place, PLACES);
  for (size_t i = 0; i < count; i++) {
    const struct part *a = place[i].part[SIDE_A], *b = place[i].part[SIDE_B];
    const char *other = a && b && strcmp(a->text, b->text) == 0 ? " (another one that reads alike)" : "";
    fprintf(to, "%s%s\n%s  A  %s\n%s  B  %s%s\n", indent, (a ? a : b)->place, indent, text_of(a), indent, text_of(b),
            other);
  }
  if (count == 0 && k->kind == DIFFERENT_ARGUMENTS)
    fprintf(to, "%sits arguments are the same; it goes on with an operation that began otherwise\n", indent);
}

static void lines(FILE *to, const struct detail_lines *l)
{
  for (unsigned i = 0; i < l->count; i++) fprintf(to, "       %s\n", l->line[i]);
}

static void side(FILE *to, const struct diff_result *r, const struct found_kind *k, int at, bool color)
{
  fprintf(to, "  %c\n", "AB"[at]);
  lines(to, &r->detail.before[at]);
  if (k->call[at].line)
    fprintf(to, "    %s>  %s%s\n", color ? "\033[1m" : "", k->call[at].line, color ? "\033[0m" : "");
  lines(to, &r->detail.after[at]);
  if (!r->detail.history[at].count) return;
  fputs("    what it rests on\n", to);
  lines(to, &r->detail.history[at]);
}

static void first(FILE *to, const struct diff_result *r, bool color)
{
  const struct found_kind *k = &r->found.kind[r->found.first];
  fprintf(to, "\nfirst difference: %s%s%s, %s\n", color ? "\033[1;31m" : "", found_function_name(k->function),
          color ? "\033[0m" : "", result_sentence(k->kind));
  if (r->pairs > 1) {
    fputs("  in ", to), text_to_stream(to, k->pair->process[SIDE_A]->program);
    fprintf(to, "[%" PRIu32 "] and [%" PRIu32 "], ", k->pair->process[SIDE_A]->pid, k->pair->process[SIDE_B]->pid);
    text_to_stream(to, base(k->pair->module[SIDE_A]->path));
    fputc('\n', to);
  }
  places(to, k, "  ");
  const struct found_kind *earlier = NULL;
  for (unsigned i = 0; i < r->found.kinds; i++) {
    if (!r->found.kind[i].before || (int)i == r->found.first || k->kind != DIFFERENT_ANSWER) continue;
    if (!earlier) earlier = &r->found.kind[i];
  }
  if (earlier) {
    const int at = earlier->number[SIDE_A] ? SIDE_A : SIDE_B;
    fprintf(to, "  before it the application itself did otherwise, first %c #%" PRIu64 " %s: %s\n", "AB"[at],
            earlier -> number[at], found_function_name(earlier->function), result_sentence(earlier->kind));
  }
  side(to, r, k, SIDE_A, color);
  side(to, r, k, SIDE_B, color);
}

static void numbers(FILE *to, const struct found_kind *k)
{
  for (int at = 0; at < SIDES; at++)
    if (k->number[at]) fprintf(to, " %c #%" PRIu64, "AB"[at], k -> number[at]);
}

/* One line: function, what differs first, how often, where. */
static void brief(FILE *to, const struct found_kind *k)
{
  struct place place[1];
  fprintf(to, "  %s", found_function_name(k->function));
  if (result_places(k, place, 1)) {
    const struct part *a = place->part[SIDE_A], *b = place->part[SIDE_B];
    fprintf(to, " %s: %.60s -> %.60s", (a ? a : b)->place, text_of(a), text_of(b));
  }
  if (k->count > 1) fprintf(to, ", %" PRIu64 " times", k->count);
  fputc(',', to);
  numbers(to, k);
  fputc('\n', to);
}

static void others(FILE *to, const struct diff_result *r, enum difference_kind kind, const char *title)
{
  unsigned told = 0, left = 0;
  for (unsigned i = 0; i < r->found.kinds; i++) {
    const struct found_kind *k = &r->found.kind[i];
    if (k->kind != kind || (int)i == r->found.first) continue;
    if (told == OTHERS) {
      left++;
      continue;
    }
    if (told++ == 0) fprintf(to, "\n%s\n", title);
    brief(to, k);
  }
  if (left) fprintf(to, "  and %u more kinds; --json has all\n", left);
}

static void by_function(FILE *to, const struct found *f)
{
  fprintf(to, "\n%-28s %9s %9s %9s %9s %9s %9s\n", "function", "A calls", "B calls", "answers", "arguments", "A only",
          "B only");
  for (unsigned i = 0; i <= P11_FUNCTIONS; i++) {
    const struct found_function *x = &f->function[i];
    if (x->answers + x->arguments + x->only[SIDE_A] + x->only[SIDE_B] == 0) continue;
    fprintf(to, "%-28s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "\n",
            found_function_name(i), x->calls[SIDE_A], x->calls[SIDE_B], x->answers, x->arguments, x->only[SIDE_A],
            x->only[SIDE_B]);
  }
}

bool print_text(FILE *to, const struct diff_result *r, bool color)
{
  head(to, &r->survey[SIDE_A], 'A');
  head(to, &r->survey[SIDE_B], 'B');
  for (size_t i = 0; i < r->lonelies; i++) {
    const struct lonely *l = &r->lonely[i];
    fprintf(to, "in %c only: ", "AB"[l->side]);
    text_to_stream(to, l->process->program);
    fprintf(to, "[%" PRIu32 "]", l->process->pid);
    if (l->module) fputs(", module ", to), text_to_stream(to, base(l->module->path));
    fputc('\n', to);
  }
  if (r->found.first >= 0) {
    first(to, r, color);
    others(to, r, DIFFERENT_ANSWER, "answered otherwise too; much of it may follow from the first");
    others(to, r, DIFFERENT_TIMES, "the same answers, not as often");
    by_function(to, &r->found);
  }
  others(to, r, DIFFERENT_DESCRIPTION, "the modules describe themselves otherwise, which is no difference");
  if (r->same) fputs("no difference\n", to);
  return !ferror(to);
}
