/* p11trace redact: options only, the work is in decoder/write. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/read/arena.h"
#include "decoder/write/redact.h"

enum { KEY_CAPTURE = 0x6100, KEY_DROP, KEY_ATTRIBUTE, KEY_SEALED };

/* clang-format off */
static const struct argp_option options[] = {
    {"output", 'o', "OUT", 0, "The file to write, or the folder when there are several processes; nothing may be there", 1},
    {"capture", KEY_CAPTURE, "POLICY", 0,
     "safe (the default): payload that was recorded in clear becomes length and tag. meta: also no values of attributes but "
     "CKA_CLASS, CKA_KEY_TYPE and booleans, and no tags", 2},
    {"drop", KEY_DROP, "WORDS", 0,
     "Takes away also, separated by commas: labels, ids, certificates (and their hashes), names (of X.500, with the "
     "certificates, and URLs), serials (with the certificates, and descriptions of slots), keys (public ones, with the "
     "certificates; an id may be the hash of one), cmdline, paths (their last part stays), threads (names), marks (texts)", 2},
    {"drop-attribute", KEY_ATTRIBUTE, "CKA_...", 0, "Takes away the values of this attribute; a name or a number", 2},
    {"keep-sealed", KEY_SEALED, NULL, 0, "Keep what capture=full sealed; else the sealed bytes go and their tag stays", 2},
    {"quiet", 'q', NULL, 0, "Say nothing when all is well", 3},
    {0},
};
/* clang-format on */

static const char doc[] =
    "Makes a copy of a trace that says less. What is taken away leaves its length and, but with meta, a tag: equal "
    "values "
    "stay equal, so `check` finds what it found. The key of the tags is new each time and written nowhere.\v"
    "Numbers, times, handles, return codes and call stacks stay. The original is not touched. The new trace has an id "
    "of "
    "its own and says from which trace it is (info: derived). Files have mode 0600.\n"
    "\n"
    "Exit status: 0, or 2 when bytes of a trace are lost (what could be read was written) or it could not be done.";

struct arguments {
  struct redact_options redact;
  struct arguments_list traces;
  uint64_t *attribute;
  char how[1024];
  bool quiet;
};

static void drop(struct arguments *a, const char *words, struct argp_state *state)
{
  for (const char *word = words; *word != '\0';) {
    const size_t n = strcspn(word, ",");
    const unsigned bit = strict_word(word, n);
    if (bit == 0) {
      argp_error(state,
                 "--drop: %.*s: allowed are labels, ids, certificates, names, serials, keys, cmdline, paths, threads "
                 "and marks",
                 (int)n, word);
    }
    a->redact.strict.drop |= bit;
    word += n;
    if (*word == ',') word++;
  }
}

static void add_attribute(struct arguments *a, const char *name, struct argp_state *state)
{
  uint64_t value = 0;
  char *end = NULL;
  bool fine = strncmp(name, "CKA_", 4) == 0 && p11_constant_value(name, &value);
  if (!fine && name[0] >= '0' && name[0] <= '9') {
    value = strtoull(name, &end, 0);
    fine = *end == '\0';
  }
  if (!fine) argp_error(state, "--drop-attribute: %s: not an attribute: give CKA_LABEL or a number such as 0x3", name);
  a->attribute = read_realloc(a->attribute, (a->redact.strict.attributes + 1) * sizeof *a->attribute);
  a->attribute[a->redact.strict.attributes++] = value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  struct strict *s = &a->redact.strict;
  switch (key) {
    case 'o': a->redact.output = arguments_output(state, arg); return 0;
    case 'q': a->quiet = true; return 0;
    case KEY_CAPTURE:
      s->meta = strcmp(arg, "meta") == 0;
      if (!s->meta && strcmp(arg, "safe") != 0) argp_error(state, "--capture=%s: allowed are safe and meta", arg);
      arguments_note(a->how, "--capture", arg);
      return 0;
    case KEY_DROP:
      drop(a, arg, state);
      arguments_note(a->how, "--drop", arg);
      return 0;
    case KEY_ATTRIBUTE:
      add_attribute(a, arg, state);
      arguments_note(a->how, "--drop-attribute", arg);
      return 0;
    case KEY_SEALED:
      s->keep_sealed = true;
      arguments_note(a->how, "--keep-sealed", NULL);
      return 0;
    default: return arguments_traces(key, arg, state, &a->traces, a->redact.output);
  }
}

int cmd_redact(int argc, char **argv)
{
  static const struct argp argp = {.options = options, .parser = parse, .args_doc = "TRACE...", .doc = doc};
  struct arguments a = {.how = "redact"};
  int status = EXIT_COULD_NOT;
  if (argp_parse(&argp, argc, argv, 0, NULL, &a) == 0) {
    a.redact.how = a.how;
    a.redact.strict.attribute = a.attribute;
    status = redact_paths(a.traces.at, a.traces.count, &a.redact);
    if (status == EXIT_FINE && !a.quiet) {
      printf("%s: %" PRIu64 " value%s taken away\n", a.redact.output, a.redact.strict.taken,
             a.redact.strict.taken == 1 ? "" : "s");
    }
  }
  free(a.traces.at);
  free(a.attribute);
  return status;
}
