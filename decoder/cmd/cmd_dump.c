/* p11trace dump: options only, the work is in decoder/show. */
#include <argp.h>
#include <stdlib.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/cmd/dump_option.h"

static const char doc[] =
    "Shows the calls of traces, one a line, in the order in which they returned; calls that had not returned when the "
    "trace ends come last.\v"
    "A TRACE is a file, a folder with traces, or - for standard input.\n"
    "\n" FILTER_HELP
    "\n"
    "A line:\n"
    "  #12 0.001234 C_Login(hSession=0x1, userType=CKU_USER,\n"
    "    pPin=<8 bytes, tag 1f2e3d4c>, ulPinLen=8) = CKR_OK <0.000123>\n"
    "number of the call, seconds since the start of the trace, thread or process when there are several, parameters "
    "(-> before what the call returned in one), return code, duration. Payload, PINs and keys are shown by length and "
    "tag (payload in full with --key): equal tags in one process mean equal bytes.\n"
    "\n"
    "Exit status: 0, or 2 when bytes of a trace are lost (after showing the rest) or something was wrong.";

enum { KEY_KEY = 0x5100 };

/* clang-format off */
static const struct argp_option options[] = {
    {"key", KEY_KEY, "FILE", 0,
     "Private key (p11trace keygen): payload that is sealed to it is shown; PINs and keys stay sealed", 2},
    {0},
};
/* clang-format on */

struct arguments {
  struct dump_options dump;
  const char *key;
  struct arguments_list traces;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &args->dump; return 0;
    case KEY_KEY: args->key = arg; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no trace given"); return 0;
    case ARGP_KEY_ARG: arguments_add(&args->traces, arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_dump(int argc, char **argv)
{
  static const struct argp_child children[] = {
      {&dump_option_argp, 0, NULL, 0},
      {0            }
  };
  const struct argp argp = {
      .options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc, .children = children};
  struct arguments args = {0};
  int status = EXIT_COULD_NOT;
  dump_option_start(&args.dump, "p11trace dump");
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) == 0) {
    struct seal_key *key = args.key != NULL ? seal_key_read("p11trace dump", args.key) : NULL;
    struct trace_set *set = args.key != NULL && key == NULL ? NULL : trace_open(args.traces.at, args.traces.count);
    if (key != NULL) args.dump.reveal = reveal_new("p11trace dump", key);
    if (set != NULL) {
      status = dump_set(set, &args.dump, STDOUT_FILENO);
      trace_close(set);
    }
    reveal_free(args.dump.reveal);
    seal_key_free(key);
  }
  dump_option_free(&args.dump);
  free(args.traces.at);
  return status;
}
