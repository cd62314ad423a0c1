/* p11trace info: options only. */
#include <argp.h>
#include <stdlib.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/show/info.h"

struct arguments {
  bool json, verbose;
  struct arguments_list paths;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case 'j': a->json = true; return 0;
    case 'v': a->verbose = true; return 0;
    case ARGP_KEY_ARG: arguments_add(&a->paths, arg); return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no TRACE given: name a file NAME.p11t, a folder of them, or -"); return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_info(int argc, char **argv)
{
  static const struct argp_option options[] = {
      {"json",                             'j', NULL, 0, "One JSON object instead of text", 0},
      {"verbose",                              'v', NULL, 0, "Each process in full, however many there are", 0},
      {0}
  };
  static const struct argp argp = {
      options,
      parse,
      "TRACE...",
      "What a trace holds: which process, which modules, how many calls, and whether it is complete.\v"
      "A TRACE is a file NAME.p11t (its live part is read with it), a folder of them, or - for standard input.\n\n"
      "Verdicts: recording; complete; ended (no clean end); ended inside C_...; cut (bytes are missing or damaged).\n"
      "Exit status: 0, or 2 when bytes are lost or nothing could be read.",
      NULL,
      NULL,
      NULL};
  struct arguments a = {0};
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0) {
    free(a.paths.at);
    return EXIT_COULD_NOT;
  }
  struct trace_set *set = trace_open(a.paths.at, a.paths.count);
  int status = set == NULL ? EXIT_COULD_NOT : info_set(set, a.json, a.verbose, STDOUT_FILENO);
  if (set != NULL) trace_close(set);
  free(a.paths.at);
  return status;
}
