/* p11trace stat: options only, the work is in decoder/show. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/filter/filter_option.h"
#include "decoder/show/stat.h"
#include "decoder/symbols/symbols_option.h"

enum { KEY_CALLS = 256, KEY_JSON, KEY_BY, KEY_BY_CALLER, KEY_SORT };

/* clang-format off */
static const struct argp_option options[] = {
    {"expression", 'e', "EXPR", 0, "Count only calls for which EXPR is true; several must all be true", 1},
    {"calls", KEY_CALLS, "SET", 0, "Count only these call numbers: 7, 10-200, 300-; several sets are one", 1},
    {"by", KEY_BY, "WHAT", 0,
     "What makes a row: one or several of fn, mechanism, slot, module, thread, process, caller (fn,mechanism,slot)", 2},
    {"by-caller", KEY_BY_CALLER, NULL, 0, "A row for each calling function: --by caller", 2},
    {"sort", KEY_SORT, "WHAT", 0, "Order of the rows: total (default), calls, errors, p50, p99, max, name", 2},
    {"json", KEY_JSON, NULL, 0, "One JSON object; times in nanoseconds", 2},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Counts and times the calls of traces, per function, mechanism and slot. Mechanism and slot of a call like C_Sign "
    "are those of C_SignInit and C_OpenSession.\v"
    "A TRACE is a file, a folder with traces, or - for standard input.\n"
    "\n" FILTER_HELP
    "\n"
    "Percentiles are exact to 1/32. conc is the largest number of these calls that were in the module at once, whether "
    "they pass -e and --calls or not.\n"
    "\n"
    "Exit status: 0, or 2 when bytes of a trace are lost (after showing the rest) or something was wrong.";

struct arguments {
  struct stat_options stat;
  struct arguments_list traces;
};

struct word {
  const char *name;
  unsigned value;
};
/* clang-format off */
static const struct word by_words[] = {{"fn", BY_FN},         {"mechanism", BY_MECHANISM}, {"slot", BY_SLOT},
                                       {"module", BY_MODULE}, {"thread", BY_THREAD},       {"process", BY_PROCESS},
                                       {"caller", BY_CALLER}};
static const struct word sort_words[] = {{"total", SORT_TOTAL}, {"calls", SORT_CALLS}, {"errors", SORT_ERRORS},
                                         {"p50", SORT_P50},     {"p99", SORT_P99},     {"max", SORT_MAX},
                                         {"name", SORT_NAME}};
/* clang-format on */

static const struct word *find(const struct word *words, size_t count, const char *at, size_t length)
{
  for (size_t i = 0; i < count; i++) {
    if (strlen(words[i].name) == length && memcmp(words[i].name, at, length) == 0) return &words[i];
  }
  return NULL;
}

static unsigned parse_by(struct argp_state *state, const char *arg)
{
  unsigned by = 0;
  for (const char *at = arg;; at++) {
    size_t length = strcspn(at, ",");
    const struct word *w = find(by_words, sizeof by_words / sizeof *by_words, at, length);
    if (w == NULL) {
      argp_error(
          state,
          "--by=%s: character %zu: allowed are fn, mechanism, slot, module, thread, process and caller, with commas",
          arg, (size_t)(at - arg) + 1);
      return 0;
    }
    by |= w->value;
    at += length;
    if (*at == '\0') return by;
  }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &args->stat.symbols; return 0;
    case KEY_BY_CALLER: args->stat.by = BY_CALLER; return 0;
    case 'e': filter_option_expression("p11trace stat", args->stat.filter, arg); return 0;
    case KEY_CALLS: filter_option_calls("p11trace stat", args->stat.filter, arg); return 0;
    case KEY_BY: args->stat.by = parse_by(state, arg); return 0;
    case KEY_SORT: {
      const struct word *w = find(sort_words, sizeof sort_words / sizeof *sort_words, arg, strlen(arg));
      if (w == NULL) {
        argp_error(state, "--sort=%s: allowed are total, calls, errors, p50, p99, max and name", arg);
        return 0;
      }
      args->stat.sort = (enum stat_sort)w->value;
      return 0;
    }
    case KEY_JSON: args->stat.json = true; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no trace given"); return 0;
    case ARGP_KEY_ARG: arguments_add(&args->traces, arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_stat(int argc, char **argv)
{
  static const struct argp_child children[] = {
      {&symbols_option_argp, 0, NULL, 0},
      {0               }
  };
  const struct argp argp = {
      .options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc, .children = children};
  struct arguments args = {.stat = {.by = BY_DEFAULT}};
  args.stat.filter = filter_new();
  int status = EXIT_COULD_NOT;
  if (args.stat.filter == NULL) {
    fputs("p11trace stat: out of memory\n", stderr);
    goto out;
  }
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) goto out;
  struct trace_set *set = trace_open(args.traces.at, args.traces.count);
  if (set == NULL) goto out;
  status = stat_set(set, &args.stat, STDOUT_FILENO);
  trace_close(set);
out:
  symbols_option_free(&args.stat.symbols);
  filter_free(args.stat.filter);
  free(args.traces.at);
  return status;
}
