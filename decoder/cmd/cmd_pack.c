/* p11trace pack: options only, the work is in decoder/pack. */
#include <argp.h>
#include <stdlib.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/pack/pack.h"
#include "decoder/symbols/symbols_option.h"

enum { KEY_NO_SYMBOLS = 0x5000 };

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "The file to write, such as case.tar.zst; it must not exist", 1},
    {"no-symbols", KEY_NO_SYMBOLS, NULL, 0, "Do not look up the names of call stacks; lists that are there go in", 1},
    {"quiet", 'q', NULL, 0, "Say nothing when all is well", 1},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Puts all files of a case into one, to be sent: the traces, with what is still in live files (of processes that go "
    "on, "
    "too), the names of their call stacks as this machine knows them, and info.json, what `info --json` says of them.\v"
    "A TRACE is a file or a folder with traces. They stay as they are. The file has mode 0600; every verb reads it as "
    "a TRACE, "
    "and `tar --zstd -xf FILE` unpacks it. What a trace keeps of PINs, keys and payload was decided when it was "
    "recorded "
    "(capture).\n"
    "\n"
    "Exit status: 0, or 2 when bytes of a trace are lost (what there is was packed) or nothing could be packed.";

struct arguments {
  struct pack_options pack;
  struct arguments_list traces;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->pack.symbols; return 0;
    case 'o': a->pack.output = arg; return 0;
    case 'q': a->pack.quiet = true; return 0;
    case KEY_NO_SYMBOLS: a->pack.no_symbols = true; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no trace given"); return 0;
    case ARGP_KEY_ARG: arguments_add(&a->traces, arg); return 0;
    case ARGP_KEY_END:
      if (a->pack.output == NULL && a->traces.count > 0)
        argp_error(state, "no -o FILE given: name the file to write, case.tar.zst");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_pack(int argc, char **argv)
{
  static const struct argp_child children[] = {
      {&symbols_option_files, 0, NULL, 0},
      {0                }
  };
  const struct argp argp = {
      .options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc, .children = children};
  struct arguments a = {0};
  int status = EXIT_COULD_NOT;
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) == 0) status = pack_paths(a.traces.at, a.traces.count, &a.pack);
  symbols_option_free(&a.pack.symbols);
  free(a.traces.at);
  return status;
}
