/* p11trace run: options only, the work is in decoder/run. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/cmd/settings_options.h"
#include "decoder/run/run.h"

enum { KEY_RECORDER = 256, KEY_FAIL_ON, KEY_SETTING };

struct arguments {
  struct run_request request;
  struct run_setting chosen[P11_SETTINGS];
};

static void choose(struct argp_state *state, struct arguments *a, size_t which, const char *value)
{
  const struct p11_setting *s = &p11_settings[which];
  char problem[160];
  if (!settings_accept(which, value, problem, sizeof problem)) argp_error(state, "%s", problem);
  if (which == P11_SETTING_OUT) {
    a->request.out = value;
    return;
  }
  if (which == P11_SETTING_LIVE) a->request.live = value;
  size_t i = 0;
  while (i < a->request.n_settings && a->chosen[i].variable != s->variable) i++;
  a->chosen[i] = (struct run_setting){s->variable, value};
  if (i == a->request.n_settings) a->request.n_settings++;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *a = state->input;
  if (key >= KEY_SETTING && key < KEY_SETTING + P11_SETTINGS) {
    choose(state, a, (size_t)(key - KEY_SETTING), arg);
    return 0;
  }
  switch (key) {
    case 'o': choose(state, a, P11_SETTING_OUT, arg); return 0;
    case 'q': a->request.quiet = true; return 0;
    case KEY_RECORDER: a->request.recorder = arg; return 0;
    case KEY_FAIL_ON:
      a->request.fail_on = !strcmp(arg, "error")     ? SEVERITY_ERROR
                           : !strcmp(arg, "warning") ? SEVERITY_WARNING
                           : !strcmp(arg, "info")    ? SEVERITY_INFO
                                                     : 0;
      if (!a->request.fail_on) argp_error(state, "--fail-on is error, warning or info, not %s", arg);
      return 0;
    case ARGP_KEY_ARG: /* the command: everything from here on is its own */
      a->request.command = &state->argv[state->next - 1];
      state->next = state->argc;
      return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "no COMMAND given: p11trace run -- certutil -L -d sql:nssdb"); return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_run(int argc, char **argv)
{
  static struct argp_option options[P11_SETTINGS + 8];
  static struct arguments a;
  static const struct argp_option own[] = {
      {"output",   'o',          "DIR",   0, "Folder for the traces (default: a fresh one under $XDG_STATE_HOME/p11trace)", 1},
      {"quiet",    'q',          NULL,    0, "Say nothing at the end",                                                      1},
      {"fail-on",  KEY_FAIL_ON,  "LEVEL", 0,
       "error, warning or info: exit with status 1 when `check` finds that or worse",                                       1},
      {"recorder", KEY_RECORDER, "FILE",  0, "libp11trace.so, if it is not where this program expects it",                  1},
  };
  size_t n = 0;
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) options[n++] = own[i];
  settings_options(options + n, KEY_SETTING, "Settings of the recorder:", 2);
  const struct argp argp = {
      .options = options,
      .parser = parse,
      .args_doc = "[--] COMMAND [ARG...]",
      .doc =
          "Runs a command with the recorder preloaded: the calls of every module in it and in its children are traced, "
          "one "
          "trace a process. At the end it says on stderr who made calls, how each process ended and what `check` "
          "finds.\v"
          "Exit status: the command's; 128 and its number when a signal killed it; 127 when it is not found, 126 when "
          "it "
          "cannot be started; 2 when the run cannot be set up; 1 as --fail-on says.\n\n"
          "Not traced: set-id and statically linked programs, and modules that a module loads after it was itself "
          "loaded "
          "with RTLD_DEEPBIND. `p11trace wrap` traces these."};
  a.request.settings = a.chosen;
  argp_err_exit_status = EXIT_COULD_NOT;
  if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a) != 0) return EXIT_COULD_NOT;
  static char public_key[PATH_MAX];
  const char *capture = NULL, *around = getenv(p11_settings[P11_SETTING_SEAL_TO].variable), **seal_to = &around;
  if (around != NULL && around[0] == '\0') around = NULL;
  for (size_t i = 0; i < a.request.n_settings; i++) {
    if (a.chosen[i].variable == p11_settings[P11_SETTING_CAPTURE].variable) capture = a.chosen[i].value;
    if (a.chosen[i].variable == p11_settings[P11_SETTING_SEAL_TO].variable) seal_to = &a.chosen[i].value;
  }
  settings_seal("p11trace run", capture, seal_to, public_key);
  if (around != NULL && seal_to == &around) setenv(p11_settings[P11_SETTING_SEAL_TO].variable, around, 1);
  return run_command(&a.request);
}
