#include "decoder/cmd/dump_option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"
#include "decoder/symbols/symbols_option.h"

enum { KEY_CALLS = 0x4400, KEY_JSON, KEY_COLOR, KEY_CALLER, KEY_STACK, KEY_THREADS, KEY_NS };

#define DEFAULT_LIMIT 32 /* bytes of a value, as strace has it */

/* clang-format off */
static const struct argp_option options[] = {
    {"expression", 'e', "EXPR", 0, "Show only calls for which EXPR is true; several must all be true", 1},
    {"calls", KEY_CALLS, "SET", 0, "Show only these call numbers: 7, 10-200, 300-; several sets are one", 1},
    {"json", KEY_JSON, NULL, 0, "One JSON object a line; decoder/show/JSON.md describes them", 2},
    {"absolute", 't', NULL, 0, "Date and local time before each call instead of seconds since the start", 2},
    {"relative", 'r', NULL, 0, "Seconds since the line before", 2},
    {"ns", KEY_NS, NULL, 0, "Nine digits of a second instead of six", 2},
    {"size", 's', "SIZE", 0, "Show at most SIZE bytes of a value (32)", 2},
    {"verbose", 'v', NULL, 0, "Show values, lists and tags in full", 2},
    {"caller", KEY_CALLER, NULL, 0, "Where each call came from", 2},
    {"stack", KEY_STACK, NULL, 0, "The recorded call stack below each call, with names where they are known", 2},
    {"threads", KEY_THREADS, NULL, 0, "Thread ids from the first line on, not only from the second thread on", 2},
    {"color", KEY_COLOR, "WHEN", 0, "auto (when the output is a terminal), always or never", 3},
    {"quiet", 'q', NULL, 0, "Calls only, no lines about modules, lists and markers", 3},
    {0},
};
/* clang-format on */

static const char *verb_of; /* argp hands an input through, and that is the options */

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct dump_options *o = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->symbols; return 0;
    case 'e': filter_option_expression(verb_of, o->filter, arg); return 0;
    case KEY_CALLS: filter_option_calls(verb_of, o->filter, arg); return 0;
    case KEY_JSON: o->json = true; return 0;
    case 't': o->time = DUMP_ABSOLUTE; return 0;
    case 'r': o->time = DUMP_RELATIVE; return 0;
    case KEY_NS: o->nanoseconds = true; return 0;
    case 's': {
      char *end;
      unsigned long long n = strtoull(arg, &end, 10);
      if (arg[0] < '0' || arg[0] > '9' || *end != '\0') argp_error(state, "%s: not a number of bytes", arg);
      o->limit = n < SIZE_MAX / 4 ? (size_t)n : SIZE_MAX / 4;
      return 0;
    }
    case 'v': o->verbose = true; return 0;
    case KEY_CALLER: o->caller = true; return 0;
    case KEY_STACK: o->stack = true; return 0;
    case KEY_THREADS: o->threads = true; return 0;
    case 'q': o->quiet = true; return 0;
    case KEY_COLOR:
      if (strcmp(arg, "always") == 0) {
        o->color = true;
      } else if (strcmp(arg, "never") == 0) {
        o->color = false;
      } else if (strcmp(arg, "auto") != 0) {
        argp_error(state, "--color=%s: allowed are auto, always and never", arg);
      }
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

static const struct argp_child children[] = {
    {&symbols_option_argp, 0, NULL, 0},
    {0               }
};
const struct argp dump_option_argp = {.options = options, .parser = parse, .children = children};

void dump_option_start(struct dump_options *o, const char *verb)
{
  const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
  *o = (struct dump_options){.limit = DEFAULT_LIMIT, .filter = filter_new()};
  verb_of = verb;
  if (o->filter == NULL) {
    fprintf(stderr, "%s: out of memory\n", verb);
    exit(EXIT_COULD_NOT);
  }
  o->color =
      isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0 && (no_color == NULL || no_color[0] == '\0');
}

void dump_option_free(struct dump_options *o)
{
  symbols_option_free(&o->symbols);
  filter_free(o->filter);
}
