/* p11trace check: the rules on one or more traces. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/check/catalogue.h"
#include "decoder/check/profile.h"
#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/rules/rules.h"

struct options {
  struct arguments_list traces, rules;
  enum severity severity;
  const char *explain, *profile;
  enum { FORM_TEXT, FORM_JSON, FORM_SARIF, FORM_JUNIT } form;
  bool list;
};

enum { KEY_JSON = 256, KEY_SARIF, KEY_JUNIT, KEY_PROFILE, KEY_RULE, KEY_SEVERITY, KEY_EXPLAIN, KEY_LIST };

static const struct argp_option option[] = {
    {"json",                   KEY_JSON, NULL, 0, "Print one JSON object", 0},
    {"sarif",                    KEY_SARIF, NULL, 0, "Print SARIF 2.1.0, for what collects reports of CI runs", 0},
    {"junit", KEY_JUNIT, NULL, 0,
     "Print JUnit XML: a test case for each finding, and one for each rule that found nothing", 0},
    {"profile",                        KEY_PROFILE, "NAME", 0,
     "What the module is known to do otherwise is information only: auto (default, by its file name), none, softoken, "
     "softhsm, "
     "p11-kit-proxy or spy", 0},
    {"rule",KEY_RULE, "ID", 0, "Check this rule only; may be given several times", 0},
    {"severity",                       KEY_SEVERITY, "LEVEL", 0,
     "error (default), warning or info: exit with status 1 when something of that level or above was found", 0},
    {"explain",                       KEY_EXPLAIN, "ID", 0, "Say what the rule is, where it comes from and what to do, and exit", 0},
    {"list",                  KEY_LIST, NULL, 0, "List the rules and exit", 0},
    {0                   }
};

static void known_rule(struct argp_state *state, const char *id)
{
  if (!rule_by_id(id)) argp_error(state, "there is no rule %s; --list shows all", id);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  switch (key) {
    case KEY_JSON: o->form = FORM_JSON; return 0;
    case KEY_SARIF: o->form = FORM_SARIF; return 0;
    case KEY_JUNIT: o->form = FORM_JUNIT; return 0;
    case KEY_PROFILE:
      if (!profile_exists(arg)) argp_error(state, "there is no profile %s; --help names them", arg);
      o->profile = arg;
      return 0;
    case KEY_LIST: o->list = true; return 0;
    case KEY_RULE:
      known_rule(state, arg);
      arguments_add(&o->rules, arg);
      return 0;
    case KEY_EXPLAIN:
      known_rule(state, arg);
      o->explain = arg;
      return 0;
    case KEY_SEVERITY:
      o->severity = !strcmp(arg, "error")     ? SEVERITY_ERROR
                    : !strcmp(arg, "warning") ? SEVERITY_WARNING
                    : !strcmp(arg, "info")    ? SEVERITY_INFO
                                              : 0;
      if (!o->severity) argp_error(state, "--severity is error, warning or info, not %s", arg);
      return 0;
    case ARGP_KEY_ARG: arguments_add(&o->traces, arg); return 0;
    case ARGP_KEY_END:
      if (!o->traces.count && !o->explain && !o->list) argp_error(state, "which trace? Give files, directories or -");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

/* What is missing in the traces, and with it the findings that would have needed it. */
static void tell_losses(struct process *const *process, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    arguments_tell_damage("check", process[i]);
    if (process[i]->dropped)
      fprintf(stderr, "p11trace check: %s: %llu records were lost; after each gap the state is unknown\n",
              process[i]->path, (unsigned long long)process[i]->dropped);
  }
}

static bool print(const struct options *o, struct checker *checker, struct finding *const *list, size_t count,
                  const struct check_summary *s)
{
  switch (o->form) {
    case FORM_JSON: return check_print_json(stdout, list, count, s);
    case FORM_SARIF: return check_print_sarif(stdout, list, count);
    case FORM_JUNIT: return check_print_junit(stdout, checker, list, count, o->severity);
    default:
      check_print_text(stdout, list, count);
      check_print_summary(stdout, s);
      return true;
  }
}

static int check(const struct options *o)
{
  struct trace_set *set = trace_open(o->traces.at, o->traces.count);
  if (!set) return EXIT_COULD_NOT;
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  /* Times as `dump` shows them: since the first process's start. */
  struct checker *checker = checker_new(o->rules.at, o->rules.count, processes ? process[0]->first.monotonic : 0);
  struct event event;
  while (!trace_next(set, &event)) checker_event(checker, &event);
  struct finding *const *list;
  struct check_summary s;
  const size_t count = profile_conclude(checker, o->profile, processes, &list, &s);
  const bool written = print(o, checker, list, count, &s);
  if (checker_not_kept(checker))
    fprintf(stderr, "p11trace check: %llu more findings of rules that had 256 different ones\n",
            (unsigned long long)checker_not_kept(checker));
  tell_losses(process, processes);
  int status = EXIT_FINE;
  for (size_t i = 0; i < count; i++)
    if (list[i]->severity >= o->severity) status = EXIT_FOUND;
  if (trace_damaged(set)) status = EXIT_COULD_NOT;
  if (!arguments_written("check", written)) status = EXIT_COULD_NOT;
  for (size_t i = 0; i < processes; i++) model_drop(process[i]);
  checker_free(checker);
  trace_close(set);
  return status;
}

int cmd_check(int argc, char **argv)
{
  static const struct argp argp = {
      option,
      parse,
      "TRACE...",
      "Checks traces against what NSS and PKCS #11 expect of a module.\vA TRACE is a file, a directory or -. Exit "
      "status: 0 "
      "nothing found, 1 findings of the level of --severity or above, 2 could not check, or bytes of a trace are lost.",
      NULL,
      NULL,
      NULL};
  struct options o = {.severity = SEVERITY_ERROR, .profile = "auto"};
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  int status = EXIT_FINE;
  if (o.explain)
    check_explain(stdout, rule_by_id(o.explain));
  else if (o.list)
    status = catalogue_print(stdout, CATALOGUE_TEXT, NULL, 0) ? EXIT_FINE : EXIT_COULD_NOT;
  else
    status = check(&o);
  free(o.traces.at);
  free(o.rules.at);
  return status;
}
