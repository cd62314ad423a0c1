#include "decoder/diff/diff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/diff/result.h"
#include "decoder/read/arena.h"

static void add_lonely(struct diff_result *r, int side, const struct process_seen *process,
                       const struct module_seen *module)
{
  r->lonely = read_realloc(r->lonely, (r->lonelies + 1) * sizeof *r->lonely);
  r->lonely[r->lonelies++] = (struct lonely){side, process, module};
}

static size_t modules_of(const struct survey *survey)
{
  size_t count = 0;
  for (size_t i = 0; i < survey->processes; i++) count += survey->process[i].modules;
  return count;
}

static void pair_modules(struct diff_result *r, struct process_seen *a)
{
  struct process_seen *b = a->other;
  for (size_t i = 0; i < a->modules; i++) {
    struct module_seen *m = &a->module[i], *other = pair_module(a, m, b);
    m->paired = other != NULL;
    if (!other) {
      add_lonely(r, SIDE_A, a, m);
      continue;
    }
    pair_names(m, other);
    r->pair[r->pairs++] = (struct diff_pair){
        .survey = {&r->survey[SIDE_A], &r->survey[SIDE_B]},
        .process = {a,                  b                 },
        .module = {m,                  other             },
        .crowd = m->threads || other->threads
    };
  }
  for (size_t i = 0; i < b->modules; i++)
    if (!b->module[i].paired) add_lonely(r, SIDE_B, b, &b->module[i]);
}

static void pair_all(struct diff_result *r)
{
  r->pair = read_zalloc((modules_of(&r->survey[SIDE_A]) + 1) * sizeof *r->pair);
  pair_processes(&r->survey[SIDE_A], &r->survey[SIDE_B]);
  for (size_t i = 0; i < r->survey[SIDE_A].processes; i++) {
    struct process_seen *p = &r->survey[SIDE_A].process[i];
    if (p->other)
      pair_modules(r, p);
    else if (p->modules)
      add_lonely(r, SIDE_A, p, NULL);
  }
  for (size_t i = 0; i < r->survey[SIDE_B].processes; i++) {
    const struct process_seen *p = &r->survey[SIDE_B].process[i];
    if (!p->other && p->modules) add_lonely(r, SIDE_B, p, NULL);
  }
}

static bool compare(struct diff_result *r, const struct diff_options *options)
{
  for (size_t i = 0; i < r->pairs; i++) {
    const struct diff_pair *pair = &r->pair[i];
    if (!(pair->crowd ? crowd_compare : sequence_compare)(&r->found, pair, options)) return false;
  }
  return detail_read(&r->found, &r->detail, options);
}

static bool write_junit(const struct diff_result *r, const char *path)
{
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  FILE *to = fd < 0 ? NULL : fdopen(fd, "w");
  bool good = to && print_diff_junit(to, r);
  if (to && fclose(to) != 0) good = false;
  if (!good) fprintf(stderr, "p11trace diff: %s: cannot write it: %s\n", path, strerror(errno));
  return good;
}

static void tell_unnamed(const struct survey *s)
{
  const uint64_t more = survey_unnamed(s);
  if (more)
    fprintf(stderr,
            "p11trace diff: %s: searches found more than %d objects; %llu of them are not told from each other\n",
            s->path, SURVEY_OBJECTS, (unsigned long long)more);
}

static bool tell(const struct diff_result *r, const struct diff_options *options)
{
  bool good = true;
  if (options->json)
    good = print_diff_json(stdout, r);
  else if (!options->quiet)
    good = print_text(stdout, r, options->color);
  if (r->found.uncompared)
    fprintf(stderr, "p11trace diff: %llu calls were not compared: too many different questions\n",
            (unsigned long long)r->found.uncompared);
  tell_unnamed(&r->survey[SIDE_A]);
  tell_unnamed(&r->survey[SIDE_B]);
  good = arguments_written("diff", good);
  return (!options->junit || write_junit(r, options->junit)) && good;
}

/* Nothing at all passed a filter: a slip of the pen is not to be taken for "no difference". */
static bool nothing_compared(const struct diff_result *r, const struct diff_options *options)
{
  if (options->expressions + options->call_sets == 0 || r->lonelies > 0) return false;
  for (unsigned i = 0; i <= P11_FUNCTIONS; i++)
    if (r->found.function[i].calls[SIDE_A] + r->found.function[i].calls[SIDE_B] > 0) return false;
  fputs("p11trace diff: no call of either trace passes -e and --calls\n", stderr);
  return true;
}

int diff_run(const char *path_a, const char *path_b, const struct diff_options *options)
{
  struct diff_result *r = read_zalloc(sizeof *r);
  int status = EXIT_COULD_NOT;
  found_start(&r->found);
  if (survey_read(&r->survey[SIDE_A], path_a) && survey_read(&r->survey[SIDE_B], path_b)) {
    r->damaged = r->survey[SIDE_A].damaged || r->survey[SIDE_B].damaged;
    pair_all(r);
    if (compare(r, options) && !nothing_compared(r, options)) {
      r->same = r->found.differences == 0 && r->lonelies == 0;
      status = r->same ? EXIT_FINE : EXIT_FOUND;
      if (!tell(r, options) || r->damaged || r->found.uncompared) status = EXIT_COULD_NOT;
    }
    detail_free(&r->detail);
  }
  found_free(&r->found);
  survey_free(&r->survey[SIDE_A]);
  survey_free(&r->survey[SIDE_B]);
  free(r->pair);
  free(r->lonely);
  free(r);
  return status;
}
