/* p11trace merge: options only, the work is in decoder/write. */
#include <argp.h>
#include <stdlib.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/write/merge_files.h"

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "OUT", 0, "The file to write, or the folder when there are several processes; nothing may be there", 1},
    {"quiet", 'q', NULL, 0, "Say nothing when all is well", 2},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Makes one file of the files of a process: those of a rotation (NAME.p11t, NAME.2.p11t ...), the dumps of a flight "
    "recorder, and what a live file still holds. Of several processes each gets a file, in a folder.\v"
    "A TRACE is a file, a folder with traces, or - for standard input. Nothing is left out and nothing is changed: the "
    "new "
    "file has the numbers, the times and the trace id of the old ones, which stay. Files have mode 0600.\n"
    "\n"
    "Exit status: 0, or 2 when bytes of a trace are lost (what there is was written) or it could not be done.";

struct arguments {
  const char *output;
  struct arguments_list traces;
  bool quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case 'o': a->output = arguments_output(state, arg); return 0;
    case 'q': a->quiet = true; return 0;
    default: return arguments_traces(key, arg, state, &a->traces, a->output);
  }
}

int cmd_merge(int argc, char **argv)
{
  static const struct argp argp = {.options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc};
  struct arguments a = {0};
  int status = EXIT_COULD_NOT;
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) == 0)
    status = merge_files(a.traces.at, a.traces.count, a.output, a.quiet);
  free(a.traces.at);
  return status;
}
