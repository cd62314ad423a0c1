/* p11trace state: the life of sessions and logins, slot by slot. */
#include <argp.h>
#include <stdlib.h>

#include "decoder/cmd/cmd.h"
#include "decoder/state/state.h"

enum { KEY_JSON = 256 };

struct options {
  const char **trace;
  size_t traces;
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
    case ARGP_KEY_ARG:
      o->trace = realloc(o->trace, (o->traces + 1) * sizeof *o->trace);
      if (!o->trace) abort();
      o->trace[o->traces++] = arg;
      return 0;
    case ARGP_KEY_END:
      if (!o->traces) argp_error(state, "which trace? Give files, directories or -");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

static int show(const struct options *o)
{
  struct trace_set *set = trace_open(o->trace, o->traces);
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
  int status = trace_damaged(set) ? EXIT_COULD_NOT : EXIT_FINE;
  for (size_t i = 0; i < processes; i++) {
    if (process[i]->damage[0]) fprintf(stderr, "p11trace state: %s: %s\n", process[i]->path, process[i]->damage);
    model_drop(process[i]);
  }
  if (fflush(stdout) || ferror(stdout) || !written) {
    fputs("p11trace state: cannot write the result\n", stderr);
    status = EXIT_COULD_NOT;
  }
  symbols_free(states.symbols);
  states_free(&states);
  trace_close(set);
  return status;
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
  argp_err_exit_status = EXIT_COULD_NOT;
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  const int status = show(&o);
  free(o.trace);
  return status;
}
