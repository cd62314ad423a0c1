/* p11trace rules: what check looks for. */
#include <argp.h>
#include <stdlib.h>

#include "decoder/check/catalogue.h"
#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/rules/rules.h"

enum { KEY_MARKDOWN = 256, KEY_JSON, KEY_COVERAGE };

struct options {
  enum catalogue_form form;
  bool coverage;
  struct arguments_list rules;
};

static const struct argp_option option[] = {
    {"markdown",          KEY_MARKDOWN, NULL, 0, "A Markdown table", 0},
    {"json",               KEY_JSON, NULL, 0, "One JSON array, with all texts", 0},
    {"coverage", KEY_COVERAGE, NULL, 0,
     "The questions of the NSS PKCS #11 FAQ, each with its rules and with what no trace can show", 0},
    {0                  }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  switch (key) {
    case KEY_MARKDOWN: o->form = CATALOGUE_MARKDOWN; return 0;
    case KEY_JSON: o->form = CATALOGUE_JSON; return 0;
    case KEY_COVERAGE: o->coverage = true; return 0;
    case ARGP_KEY_ARG:
      if (!rule_by_id(arg)) argp_error(state, "there is no rule %s; p11trace rules shows all", arg);
      arguments_add(&o->rules, arg);
      return 0;
    case ARGP_KEY_END:
      if (o->coverage && o->rules.count) argp_error(state, "--coverage is of all rules");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

int cmd_rules(int argc, char **argv)
{
  static const struct argp argp = {
      option,
      parse,
      "[RULE...]",
      "Lists what `p11trace check` looks for.\vp11trace check --explain RULE says what a rule is, where it comes from "
      "and what to do.",
      NULL,
      NULL,
      NULL};
  struct options o = {0};
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  bool good =
      o.coverage ? catalogue_coverage(stdout, o.form) : catalogue_print(stdout, o.form, o.rules.at, o.rules.count);
  if (fflush(stdout)) good = false;
  if (!good) fputs("p11trace rules: cannot write the list\n", stderr);
  free(o.rules.at);
  return good ? EXIT_FINE : EXIT_COULD_NOT;
}
