/* p11trace wrap: options only, the work is in decoder/wrap. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/cmd/settings_options.h"
#include "decoder/wrap/wrap.h"

enum { KEY_NSSDB = 256, KEY_REPLACE, KEY_RESTORE, KEY_RECORDER, KEY_SETTING };

struct arguments {
  struct wrap_request request;
  struct wrap_setting chosen[P11_SETTINGS];
  const char *nssdb, *replace;
  int restore, quiet;
};

/* Errors of usage end as all others do: "what: where: what to do", exit status 2. */
static _Noreturn void misuse(const char *what, const char *where, const char *todo)
{
  wrap_fail(what, where, "%s; see p11trace wrap --help", todo);
  exit(EXIT_COULD_NOT);
}

static void choose(struct arguments *args, size_t which, const char *value)
{
  const struct p11_setting *s = &p11_settings[which];
  char problem[256];
  if (!settings_accept(which, value, problem, sizeof problem)) {
    fprintf(stderr, "p11trace wrap: %s; see p11trace wrap --help\n", problem);
    exit(EXIT_COULD_NOT);
  }
  size_t i = 0;
  while (i < args->request.n_settings && args->chosen[i].name != s->name) i++;
  args->chosen[i] = (struct wrap_setting){s->name, value};
  if (i == args->request.n_settings) args->request.n_settings++;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  if (key >= KEY_SETTING && key < KEY_SETTING + P11_SETTINGS) {
    choose(args, (size_t)(key - KEY_SETTING), arg);
    return 0;
  }
  switch (key) {
    case 'o': args->request.output = arg; return 0;
    case 'q': args->quiet = 1; return 0;
    case KEY_NSSDB: args->nssdb = arg; return 0;
    case KEY_REPLACE: args->replace = arg; return 0;
    case KEY_RESTORE: args->restore = 1; return 0;
    case KEY_RECORDER: args->request.recorder = arg; return 0;
    case ARGP_KEY_ARG:
      if (args->request.module != NULL) misuse("more than one module", arg, "wrap them one by one");
      args->request.module = arg;
      return 0;
    case ARGP_KEY_END:
      if (args->replace != NULL || args->restore) {
        if (args->nssdb == NULL) misuse("no database", "--replace, --restore", "name it with --nssdb sql:DIR");
        if (args->replace != NULL && args->restore) misuse("one at a time", "--replace, --restore", "choose");
        if (args->request.module != NULL) {
          misuse("no module needed", args->request.module, "the database says which library it is");
        }
      } else if (args->nssdb != NULL) {
        misuse("nothing to do", "--nssdb", "add --replace NAME or --restore");
      } else if (args->request.module == NULL) {
        misuse("no module", "MODULE", "give the path of the PKCS #11 library to trace");
      }
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

/* argp wants one array; the settings stand in the table above. */
static void fill_options(struct argp_option options[])
{
  static const struct argp_option own[] = {
      {"output",   'o',          "NAME.so", 0, "The traced library (default ./MODULE-traced.so) and NAME.conf", 1},
      {"nssdb",    KEY_NSSDB,    "sql:DIR", 0, "Work on the module list of this NSS database",                  2},
      {"replace",  KEY_REPLACE,  "NAME",    0, "Put a traced copy in the place of the database's module NAME",  2},
      {"restore",  KEY_RESTORE,  NULL,      0, "Put the replaced modules of the database back",                 2},
      {"quiet",    'q',          NULL,      0, "Print the path of the traced library only",                     3},
      {"recorder", KEY_RECORDER, "FILE",    0, "libp11trace.so, if it is not where this program expects it",    3},
  };
  size_t n = 0;
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) options[n++] = own[i];
  settings_options(options + n, KEY_SETTING, "Settings of the recorder, written into NAME.conf:", 4);
}

int cmd_wrap(int argc, char **argv)
{
  static struct argp_option options[P11_SETTINGS + 8];
  static struct arguments args;
  fill_options(options);
  const struct argp argp = {
      .options = options,
      .parser = parse,
      .args_doc = "MODULE\n--nssdb sql:DIR --replace NAME\n--nssdb sql:DIR --restore",
      .doc =
          "Makes a traced copy of a PKCS #11 module: a library that a program loads instead of the module, and that "
          "records every call before the module gets it."};
  args.request.settings = args.chosen;
  argp_err_exit_status = EXIT_COULD_NOT;
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return EXIT_COULD_NOT;

  static char public_key[PATH_MAX];
  const char *capture = NULL, *none = NULL, **seal_to = &none;
  for (size_t i = 0; i < args.request.n_settings; i++) {
    if (args.chosen[i].name == p11_settings[P11_SETTING_CAPTURE].name) capture = args.chosen[i].value;
    if (args.chosen[i].name == p11_settings[P11_SETTING_SEAL_TO].name) seal_to = &args.chosen[i].value;
  }
  settings_seal("p11trace wrap", capture, seal_to, public_key);

  struct wrap_copy copy;
  if (args.restore) return nssdb_restore(args.nssdb) == 0 ? EXIT_FINE : EXIT_COULD_NOT;
  if (args.replace != NULL) {
    if (nssdb_replace(args.nssdb, args.replace, &args.request, &copy) != 0) return EXIT_COULD_NOT;
  } else {
    if (wrap_write(&args.request, &copy) != 0) return EXIT_COULD_NOT;
    wrap_print(&copy, args.quiet);
  }
  return EXIT_FINE;
}
