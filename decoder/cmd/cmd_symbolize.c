/* p11trace symbolize: options only. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/symbols/symbols_option.h"

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "Write to FILE instead of NAME.p11t.sym; one TRACE", 1},
    {"quiet", 'q', NULL, 0, "Say nothing when all is well", 1},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Looks up the functions and source lines of all call stacks of traces and writes them beside each trace, into "
    "NAME.p11t.sym, which dump and stat read: so stacks have names also where the traced program's files are not.\v"
    "Best on the machine that recorded. Elsewhere --sysroot names a folder with copies of its files, with their "
    "folders "
    "or side by side. Names come from symbol tables, from debug files found by build id, and from DWARF. A file of "
    "another "
    "build than the trace's gives none.\n"
    "\n"
    "Exit status: 0, or 2 when bytes of a trace are lost or something was wrong.";

struct arguments {
  struct symbols_options symbols;
  const char *output;
  struct arguments_list traces;
  bool quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->symbols; return 0;
    case 'o': a->output = arg; return 0;
    case 'q': a->quiet = true; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no trace given"); return 0;
    case ARGP_KEY_ARG: arguments_add(&a->traces, arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_symbolize(int argc, char **argv)
{
  static const struct argp_child children[] = {
      {&symbols_option_files, 0, NULL, 0},
      {0                }
  };
  const struct argp argp = {
      .options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc, .children = children};
  struct arguments a = {0};
  int status = EXIT_COULD_NOT;
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) == 0) {
    struct trace_set *set = trace_open(a.traces.at, a.traces.count);
    if (set != NULL) {
      status = symbols_write(set, &a.symbols, a.output, a.quiet);
      trace_close(set);
    }
  }
  symbols_option_free(&a.symbols);
  free(a.traces.at);
  return status;
}
