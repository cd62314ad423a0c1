/* p11trace diff: options only, the work is in decoder/diff. */
#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/diff/diff.h"
#include "decoder/filter/filter_option.h"

enum { KEY_JSON = 256, KEY_JUNIT, KEY_CALLS, KEY_COLOR };

struct options {
  struct arguments_list traces, expressions, calls;
  struct diff_options diff;
  struct filter *filter; /* only to complain about what is wrong before a trace is read */
};

/* clang-format off */
static const struct argp_option option[] = {
    {"expression", 'e', "EXPR", 0, "Only calls for which EXPR is true; see below. Several must all be true", 1},
    {"calls", KEY_CALLS, "SET", 0, "Only calls with these numbers: 10-200, 300-, 7; in both traces", 1},
    {"json", KEY_JSON, NULL, 0, "Print one JSON object", 2},
    {"junit", KEY_JUNIT, "FILE", 0, "Write JUnit XML to FILE too: a test case for each function", 2},
    {"color", KEY_COLOR, "WHEN", 0, "auto (when the output is a terminal), always or never", 2},
    {"quiet", 'q', NULL, 0, "Print nothing, the exit status tells", 2},
    {0},
};
/* clang-format on */

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  switch (key) {
    case 'e':
      filter_option_expression("p11trace diff", o->filter, arg);
      arguments_add(&o->expressions, arg);
      return 0;
    case KEY_CALLS:
      filter_option_calls("p11trace diff", o->filter, arg);
      arguments_add(&o->calls, arg);
      return 0;
    case KEY_JSON: o->diff.json = true; return 0;
    case KEY_JUNIT: o->diff.junit = arg; return 0;
    case KEY_COLOR:
      if (strcmp(arg, "auto") != 0 && strcmp(arg, "always") != 0 && strcmp(arg, "never") != 0)
        argp_error(state, "--color=%s: allowed are auto, always and never", arg);
      if (strcmp(arg, "auto") != 0) o->diff.color = strcmp(arg, "always") == 0;
      return 0;
    case 'q': o->diff.quiet = true; return 0;
    case ARGP_KEY_ARG: arguments_add(&o->traces, arg); return 0;
    case ARGP_KEY_END:
      if (o->traces.count != 2) argp_error(state, "which two traces? A, then B");
      if (strcmp(o->traces.at[0], "-") == 0 && strcmp(o->traces.at[1], "-") == 0)
        argp_error(state, "standard input can only be one of the two");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_diff(int argc, char **argv)
{
  static const struct argp argp = {
      option,
      parse,
      "A B",
      "Tells what differs between two traces of one scenario, A before and B after: the first question that the module "
      "answered otherwise, then a summary by function. Handles, times and how often something is polled are no "
      "difference, nor is the order of calls of several threads.\v"
      "A and B are files, folders with traces, or - for standard input.\n"
      "\n" FILTER_HELP
      "\n"
      "Exit status: 0 no difference, 1 differences, 2 it could not, or bytes of a trace are lost (after comparing the "
      "rest).",
      NULL,
      NULL,
      NULL};
  const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
  struct options o = {.filter = filter_new()};
  o.diff.color = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 && (!no_color || no_color[0] == '\0');
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  filter_free(o.filter);
  o.diff.expression = o.expressions.at;
  o.diff.expressions = o.expressions.count;
  o.diff.calls = o.calls.at;
  o.diff.call_sets = o.calls.count;
  const int status = diff_run(o.traces.at[0], o.traces.at[1], &o.diff);
  free(o.traces.at);
  free(o.expressions.at);
  free(o.calls.at);
  return status;
}
