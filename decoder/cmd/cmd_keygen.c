/* p11trace keygen: options only, the work is in decoder/seal. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/seal/seal.h"

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "NAME", 0, "Make NAME.pub and NAME.key (p11trace)", 1},
    {"comment", 'c', "TEXT", 0, "Stands in NAME.pub behind the key (default: its fingerprint)", 1},
    {"quiet", 'q', NULL, 0, "Print the fingerprint only", 1},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Makes the key pair for capture=full: NAME.pub, which goes where traces are recorded (seal-to=NAME.pub), and "
    "NAME.key, "
    "which stays with whoever reads them and opens what is sealed (replay --key, dump --key).\v"
    "Neither file may exist: nothing is overwritten. NAME.key has mode 0600; whoever has it can read the PINs, keys "
    "and data "
    "in every trace that is sealed to NAME.pub, and without it nobody can.\n"
    "\n"
    "Exit status: 0, or 2 when there is no new pair.";

struct arguments {
  const char *name, *comment;
  bool quiet;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  switch (key) {
    case 'o':
      if (arg[0] == '\0' || arg[strlen(arg) - 1] == '/') argp_error(state, "%s: not a name for two files", arg);
      a->name = arg;
      return 0;
    case 'c':
      if (strpbrk(arg, "\r\n") != NULL) argp_error(state, "the comment has a line break in it");
      a->comment = arg;
      return 0;
    case 'q': a->quiet = true; return 0;
    case ARGP_KEY_ARG: argp_error(state, "%s: too much: the name is given with -o", arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_keygen(int argc, char **argv)
{
  const struct argp argp = {.options = options, .parser = parse, .doc = doc};
  struct arguments a = {.name = "p11trace", .comment = ""};
  char fingerprint[SEAL_NAME];
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0) return EXIT_COULD_NOT;
  if (!seal_make_pair("p11trace keygen", a.name, a.comment, fingerprint)) return EXIT_COULD_NOT;
  if (a.quiet) {
    puts(fingerprint);
    return EXIT_FINE;
  }
  printf("public key   %s.pub: record with --capture full --seal-to %s.pub\n", a.name, a.name);
  printf("private key  %s.key: keep it; replay and dump take it with --key\n", a.name);
  printf("fingerprint  %s\n", fingerprint);
  return EXIT_FINE;
}
