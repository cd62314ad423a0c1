/* p11trace trim: options only, the work is in decoder/write. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/filter/filter_option.h"
#include "decoder/write/trim.h"

enum { KEY_CALLS = 0x6000, KEY_FROM, KEY_TO, KEY_KEEP_STATE };

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "OUT", 0, "The file to write, or the folder when there are several processes; nothing may be there", 1},
    {"expression", 'e', "EXPR", 0, "Calls for which EXPR is true; several must all be true", 2},
    {"calls", KEY_CALLS, "SET", 0, "Calls by number: 10-200,300-,7", 2},
    {"from", KEY_FROM, "TIME", 0, "Calls that begin at TIME or later: 2s, 150ms, counted from the start of the trace", 2},
    {"to", KEY_TO, "TIME", 0, "Calls that begin before TIME", 2},
    {"keep-state", KEY_KEEP_STATE, NULL, 0,
     "Also what they depend on: C_Initialize, their sessions, the logins of their tokens, the rest of their operations, and "
     "the calls that made or found their keys", 3},
    {"quiet", 'q', NULL, 0, "Say nothing when all is well", 4},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Makes a smaller trace of the calls that -e, --calls, --from and --to choose. They keep their numbers, times, "
    "values and "
    "call stacks as they are; modules, threads and mapped files stay.\v"
    "Without --keep-state the new trace has the chosen calls and no other (but of a call that was unwound also the "
    "next one of its thread, "
    "which shows it); with it `check` and `replay` still make "
    "sense. The "
    "new trace has an id of its own and says from which trace it is (info: derived). Files have mode 0600.\n"
    "\n" FILTER_HELP
    "\n"
    "Exit status: 0; 1 when no call is chosen, and nothing is written; 2 when bytes of a trace are lost (what could be "
    "read "
    "was written) or it could not be done.";

struct arguments {
  struct trim_options trim;
  struct arguments_list traces;
  char how[1024];
};

static void when(struct arguments *a, const char *option, const char *comparison, const char *time)
{
  char expression[256];
  snprintf(expression, sizeof expression, "time%s%.200s", comparison, time);
  filter_option_expression("p11trace trim", a->trim.filter, expression);
  arguments_note(a->how, option, time);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case 'o': a->trim.output = arguments_output(state, arg); return 0;
    case 'q': a->trim.quiet = true; return 0;
    case 'e':
      filter_option_expression("p11trace trim", a->trim.filter, arg);
      arguments_note(a->how, "-e", arg);
      return 0;
    case KEY_CALLS:
      filter_option_calls("p11trace trim", a->trim.filter, arg);
      arguments_note(a->how, "--calls", arg);
      return 0;
    case KEY_FROM: when(a, "--from", ">=", arg); return 0;
    case KEY_TO: when(a, "--to", "<", arg); return 0;
    case KEY_KEEP_STATE:
      a->trim.keep_state = true;
      arguments_note(a->how, "--keep-state", NULL);
      return 0;
    default: return arguments_traces(key, arg, state, &a->traces, a->trim.output);
  }
}

int cmd_trim(int argc, char **argv)
{
  static const struct argp argp = {.options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc};
  struct arguments a = {.trim.filter = filter_new(), .how = "trim"};
  int status = EXIT_COULD_NOT;
  if (a.trim.filter == NULL) {
    fputs("p11trace trim: out of memory\n", stderr);
    return EXIT_COULD_NOT;
  }
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) == 0) {
    a.trim.how = a.how;
    status = trim_paths(a.traces.at, a.traces.count, &a.trim);
  }
  filter_free(a.trim.filter);
  free(a.traces.at);
  return status;
}
