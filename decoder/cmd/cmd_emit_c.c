/* p11trace emit-c: recorded calls as a C program. */
#include <argp.h>
#include <stdlib.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/emit/emit.h"
#include "decoder/filter/filter_option.h"

enum { KEY_CALLS = 256, KEY_MODULE_OF };

struct options {
  struct arguments_list traces;
  struct emit_options emit;
};

/* clang-format off */
static const struct argp_option option[] = {
    {"expression", 'e', "EXPR", 0, "Choose calls for which EXPR is true; several must all be true", 1},
    {"calls", KEY_CALLS, "SET", 0, "Choose these call numbers: 7, 10-200, 300-; several sets are one", 1},
    {"module-of", KEY_MODULE_OF, "PART", 0, "Of a process with several modules: part of the path of the one whose calls are wanted", 1},
    {0},
};
/* clang-format on */

static const char *verb_of; /* argp hands an input through, and that is the options */

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  switch (key) {
    case 'e': filter_option_expression(verb_of, o->emit.filter, arg); return 0;
    case KEY_CALLS: filter_option_calls(verb_of, o->emit.filter, arg); return 0;
    case KEY_MODULE_OF: o->emit.module_of = arg; return 0;
    case ARGP_KEY_ARG: arguments_add(&o->traces, arg); return 0;
    case ARGP_KEY_END:
      if (!o->traces.count) argp_error(state, "which trace? Give files, directories or -");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_emit_c(int argc, char **argv)
{
  static const struct argp argp = {
      option,
      parse,
      "TRACE...",
      "Writes a C program that makes the chosen calls on any module and says which answers differ from the recorded "
      "ones: "
      "for a report to a module's maker. What the chosen calls need (the session, the login, the search that found the "
      "key) is added. The program needs the header of p11-kit alone, takes module and PIN as arguments, and has no PIN "
      "and no key in it; bytes that were not recorded have stand-ins.\vExample:\n"
      "  p11trace emit-c --calls 120-131 trace.p11t > repro.c\n"
      "  cc $(pkg-config --cflags p11-kit-1) -o repro repro.c -ldl\n"
      "  ./repro /usr/lib/vendor.so 1234\n\n" FILTER_HELP
      "\nExit status: 0, or 2 when it could not, or bytes of a trace are lost.",
      NULL,
      NULL,
      NULL};
  struct options o = {
      .emit = {.filter = filter_new(), .fd = STDOUT_FILENO}
  };
  verb_of = argv[0];
  if (!o.emit.filter) return EXIT_COULD_NOT;
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  o.emit.path = o.traces.at;
  o.emit.paths = o.traces.count;
  const int status = emit_c(&o.emit);
  filter_free(o.emit.filter);
  free(o.traces.at);
  return status;
}
