/* p11trace import: options only, the work is in decoder/write. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/write/import.h"

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "OUT", 0, "The file to write, or the folder when there are several processes; nothing may be there", 0},
    {"quiet", 'q', NULL, 0, "Say nothing when all is well", 0},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Makes a trace of JSON lines: those of `p11trace dump --json`, changed or not, or what another tool recorded, "
    "written in "
    "that form. FILE may be - for standard input.\v"
    "decoder/show/JSON.md tells of the form, and what the smallest line is:\n"
    "  {\"type\":\"call\",\"fn\":\"C_Finalize\",\"rv\":\"CKR_OK\"}\n"
    "Numbers, times, threads and parameters that are missing are counted on, or nothing. A line that is wrong is "
    "named, and "
    "nothing is written. PINs and secrets that stand there in clear become length and tag, as the recorder makes "
    "them.\n"
    "\n"
    "Exit status: 0, or 2 when it could not be done.";

struct arguments {
  const char *path, *output;
  bool quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case 'o': a->output = arguments_output(state, arg); return 0;
    case 'q': a->quiet = true; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no FILE given"); return 0;
    case ARGP_KEY_ARG:
      if (a->path != NULL) argp_error(state, "%s: one FILE only", arg);
      a->path = arg;
      return 0;
    case ARGP_KEY_END:
      if (a->output == NULL && a->path != NULL) argp_error(state, "no -o OUT given: name the file to write");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_import(int argc, char **argv)
{
  static const struct argp argp = {.options = options, .parser = parse, .args_doc = "FILE", .doc = doc};
  struct arguments a = {0};
  struct import_result result = {0};
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0) return EXIT_COULD_NOT;
  const int status = import_lines(a.path, a.output, &result);
  if (status != EXIT_FINE) return status;
  if (!a.quiet) {
    printf("%s: %" PRIu64 " call%s of %" PRIu64 " line%s\n", a.output, result.calls, result.calls == 1 ? "" : "s",
           result.lines, result.lines == 1 ? "" : "s");
  }
  if (result.secrets > 0) {
    fprintf(stderr, "p11trace import: %" PRIu64 " secret%s stood there in clear: length and tag are in the trace\n",
            result.secrets, result.secrets == 1 ? "" : "s");
  }
  return status;
}
