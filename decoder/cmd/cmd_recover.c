/* p11trace recover: options only. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/read/recover.h"

struct arguments {
  const char *output;
  struct arguments_list paths;
  int quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case 'o': a->output = arg; return 0;
    case 'q': a->quiet = 1; return 0;
    case ARGP_KEY_ARG: arguments_add(&a->paths, arg); return 0;
    case ARGP_KEY_NO_ARGS:
      argp_error(state, "no FILE given: name a trace NAME.p11t whose NAME.p11t.live is left over");
      return 0;
    case ARGP_KEY_END:
      if (a->output != NULL && a->paths.count > 1) argp_error(state, "-o takes one FILE");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_recover(int argc, char **argv)
{
  static const struct argp_option options[] = {
      {"output",                                                                        'o', "FILE", 0, "Write the whole trace to FILE, which must not exist, and leave the originals", 0},
      {"quiet",                                                                         'q', NULL, 0, "Say nothing when all is well", 0},
      {0}
  };
  static const struct argp argp = {
      options,
      parse,
      "FILE...",
      "Fold NAME.p11t.live, which a process left that was killed or left with _exit, into NAME.p11t.\v"
      "The other verbs read the two as one; this makes one file of them, to be kept or sent. A trace that is still "
      "being "
      "recorded is left alone. A damaged one is only written elsewhere (-o), with what can be read of it.",
      NULL,
      NULL,
      NULL};
  struct arguments a = {0};
  int status = EXIT_FINE;
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0) {
    free(a.paths.at);
    return EXIT_COULD_NOT;
  }
  for (size_t i = 0; i < a.paths.count; i++) {
    struct recovered result;
    if (trace_recover(a.paths.at[i], a.output, &result) != 0) {
      status = EXIT_COULD_NOT;
    } else if (!a.quiet && result.nothing) {
      printf("%s: whole already\n", result.path);
    } else if (!a.quiet) {
      printf("%s: recovered %" PRIu64 " record%s from %" PRIu64 " slot%s of the live file\n", result.path,
             result.records, result.records == 1 ? "" : "s", result.frames, result.frames == 1 ? "" : "s");
    }
  }
  free(a.paths.at);
  return status;
}
