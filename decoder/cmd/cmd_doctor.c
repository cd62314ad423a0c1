/* p11trace doctor: options only, the work is in decoder/doctor. */
#include <argp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/doctor/doctor.h"

/* clang-format off */
static const struct argp_option options[] = {
    {"quiet", 'q', NULL, 0, "Print problems only", 1},
    {0},
};
/* clang-format on */

struct arguments {
  const char *library;
  bool quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  switch (key) {
    case 'q': args->quiet = true; return 0;
    case ARGP_KEY_ARG:
      if (args->library != NULL) argp_error(state, "one library at a time: %s and %s", args->library, arg);
      if (strlen(arg) >= PATH_MAX) argp_error(state, "the path is too long");
      args->library = arg;
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_doctor(int argc, char **argv)
{
  const struct argp argp = {
      .options = options,
      .parser = parse,
      .args_doc = "[TRACED.so]",
      .doc =
          "Says why nothing is traced: looks at the traced copy of a module and its settings, recorder, module, the "
          "folder for traces, who records now and where the last traces are. Run it as the user, and in the "
          "environment, of the program that is to be traced.\v"
          "Each line begins with ok, problem or note; problems come first and say what to do. Without TRACED.so: what "
          "the recorder does that is loaded by itself (P11TRACE_MODULE).\n\n"
          "Exit status: 0 when nothing is in the way, 1 when something is, 2 when it could not look."};
  struct arguments args = {0};
  argp_err_exit_status = EXIT_COULD_NOT;
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return EXIT_COULD_NOT;
  return doctor_examine(args.library, args.quiet);
}
