/* p11trace state: the life of sessions and logins, slot by slot. */
#include <argp.h>
#include <stdlib.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/state/state.h"

enum { KEY_JSON = 256 };

struct options {
  struct arguments_list traces;
  bool json;
};

static const struct argp_option option[] = {
    {"json", KEY_JSON, NULL, 0, "One JSON array: an object for each slot", 0},
    {0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  switch (key) {
    case KEY_JSON: o->json = true; return 0;
    case ARGP_KEY_ARG: arguments_add(&o->traces, arg); return 0;
    case ARGP_KEY_END:
      if (!o->traces.count) argp_error(state, "which trace? Give files, directories or -");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

static int show(const struct options *o)
{
  struct trace_set *set = trace_open(o->traces.at, o->traces.count);
  if (!set) return EXIT_COULD_NOT;
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  static const struct symbols_options look = {0};
  struct states states = {.origin = processes ? process[0]->first.monotonic : 0, .symbols = symbols_new(&look)};
  struct event event;
  while (!trace_next(set, &event)) states_event(&states, &event);
  bool written = true;
  if (o->json)
    written = states_json(stdout, &states);
  else
    states_print(stdout, &states);
  symbols_free(states.symbols);
  states_free(&states);
  const int status = arguments_close("state", set);
  return arguments_written("state", written) ? status : EXIT_COULD_NOT;
}

int cmd_state(int argc, char **argv)
{
  static const struct argp argp = {
      option,
      parse,
      "TRACE...",
      "Shows the life of each slot's login: sessions, what the module said of the login and when, each prompt "
      "(C_Login) with "
      "its result and who asked, polls folded together. A ! marks an answer that no order of the calls before it "
      "explains.\vA TRACE is a file, a directory or -. Exit status: 0, or 2 when bytes of a trace are lost (after "
      "showing "
      "the rest).",
      NULL,
      NULL,
      NULL};
  struct options o = {0};
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  const int status = show(&o);
  free(o.traces.at);
  return status;
}
