/* p11trace follow: options only, the work is in decoder/follow. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/cmd/dump_option.h"
#include "decoder/follow/follow.h"

enum { KEY_WAIT = 0x4600, KEY_STATUS };

/* clang-format off */
static const struct argp_option options[] = {
    {"wait", KEY_WAIT, NULL, 0, "Wait for more processes when all have ended, until Ctrl-C", 3},
    {"status", KEY_STATUS, NULL, 0, "A line on stderr for each change of a login, also without a terminal", 3},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Shows the calls of processes while they are recorded, as dump does: a line when a call has returned.\v"
    "A TRACE is a file, shown from its beginning, or a folder that traces go to: of it those that are recorded now and "
    "those "
    "that begin later. The traced programs are not disturbed. Calls come in the order of their numbers; a number that "
    "is "
    "missing is waited for 50 ms. Ends when all processes have ended, or at Ctrl-C.\n"
    "\n"
    "On a terminal the last line tells the login of each slot that was asked for it: its token, what the module last "
    "said, the prompts (C_Login) so far, and a ! once an answer is one that no order of the calls explains. -q leaves "
    "it out; --status has it, one line for each change, in a pipe too.\n"
    "\n" FILTER_HELP
    "\n"
    "Exit status: 0, or 2 when bytes of a trace are lost (after showing the rest) or something was wrong.";

struct arguments {
  struct follow_options follow;
  struct arguments_list traces;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->follow.dump; return 0;
    case KEY_WAIT: a->follow.wait = true; return 0;
    case KEY_STATUS: a->follow.status = true; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no trace given"); return 0;
    case ARGP_KEY_ARG:
      if (strcmp(arg, "-") == 0) argp_error(state, "-: standard input cannot be followed: name a file or a folder");
      arguments_add(&a->traces, arg);
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_follow(int argc, char **argv)
{
  static const struct argp_child children[] = {
      {&dump_option_argp, 0, NULL, 0},
      {0            }
  };
  const struct argp argp = {
      .options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc, .children = children};
  struct arguments a = {0};
  int status = EXIT_COULD_NOT;
  dump_option_start(&a.follow.dump, "p11trace follow");
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) == 0) {
    status = follow_paths(a.traces.at, a.traces.count, &a.follow, STDOUT_FILENO);
  }
  dump_option_free(&a.follow.dump);
  free(a.traces.at);
  return status;
}
