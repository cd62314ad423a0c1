/* p11trace report: options only, the work is in decoder/report. */
#include <argp.h>
#include <stdlib.h>

#include "decoder/check/profile.h"
#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/report/report.h"
#include "decoder/symbols/symbols_option.h"

enum { KEY_PROFILE = 256 };
#define PAGE_SIZE 1900000 /* bytes: what a mail or a bug tracker takes */

struct arguments {
  struct report_options report;
  struct arguments_list traces;
};

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "Write the page there (report.html; - is standard output)", 0},
    {"profile", KEY_PROFILE, "NAME", 0, "What the module is known to do otherwise, as of check (auto)", 0},
    {"quiet", 'q', NULL, 0, "Do not say what was written", 0},
    {0},
};
/* clang-format on */

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->report.symbols; return 0;
    case 'o': a->report.output = arg; return 0;
    case 'q': a->report.quiet = true; return 0;
    case KEY_PROFILE:
      if (!profile_exists(arg)) argp_error(state, "there is no profile %s; check --help names them", arg);
      a->report.profile = arg;
      return 0;
    case ARGP_KEY_ARG: arguments_add(&a->traces, arg); return 0;
    case ARGP_KEY_END:
      if (!a->traces.count) argp_error(state, "which trace? Give files, directories or -");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_report(int argc, char **argv)
{
  static const struct argp_child children[] = {
      {&symbols_option_argp, 0, "Names of callers:", 2},
      {0}
  };
  static const struct argp argp = {
      options,
      parse,
      "TRACE...",
      "Writes one page of HTML that needs nothing else: the logins of each slot as bands, sessions, calls, what check "
      "finds with its evidence, durations, and a table of calls to search.\v"
      "A TRACE is a file, a directory or -. Calls that are the same are folded; a page takes at most 2 MB, and what is "
      "left out is counted in it. Exit status: 0, or 2 when bytes of a trace are lost (after writing the rest) or it "
      "could not be done.",
      children,
      NULL,
      NULL};
  struct arguments a = {
      .report = {.output = "report.html", .profile = "auto", .size = PAGE_SIZE}
  };
  argp_parse(&argp, argc, argv, 0, NULL, &a);
  a.report.trace = a.traces.at;
  a.report.traces = a.traces.count;
  const int status = report_write(&a.report);
  symbols_option_free(&a.report.symbols);
  free(a.traces.at);
  return status;
}
