/* p11trace check: the rules on one or more traces. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/rules/rules.h"

struct options {
  const char **trace, **rule;
  size_t traces, rules;
  enum severity severity;
  const char *explain;
  bool json, list;
};

enum { KEY_JSON = 256, KEY_RULE, KEY_SEVERITY, KEY_EXPLAIN, KEY_LIST };

static const struct argp_option option[] = {
    {"json",                   KEY_JSON, NULL, 0, "Print one JSON object", 0},
    {"rule",                    KEY_RULE, "ID", 0, "Check this rule only; may be given several times", 0},
    {"severity", KEY_SEVERITY, "LEVEL", 0,
     "error (default), warning or info: exit with status 1 when something of that level or above was found", 0},
    {"explain",                        KEY_EXPLAIN, "ID", 0, "Say what the rule is, where it comes from and what to do, and exit", 0},
    {"list",KEY_LIST, NULL, 0, "List the rules and exit", 0},
    {0                      }
};

static void append(const char ***list, size_t *count, const char *text)
{
  *list = realloc(*list, (*count + 1) * sizeof **list);
  if (!*list) abort();
  (*list)[(*count)++] = text;
}

static void known_rule(struct argp_state *state, const char *id)
{
  if (!rule_by_id(id)) argp_error(state, "there is no rule %s; --list shows all", id);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  switch (key) {
    case KEY_JSON: o->json = true; return 0;
    case KEY_LIST: o->list = true; return 0;
    case KEY_RULE:
      known_rule(state, arg);
      append(&o->rule, &o->rules, arg);
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
    case ARGP_KEY_ARG: append(&o->trace, &o->traces, arg); return 0;
    case ARGP_KEY_END:
      if (!o->traces && !o->explain && !o->list) argp_error(state, "which trace? Give files, directories or -");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

static struct check_summary summarize(struct checker *checker, size_t processes, struct finding *const *list,
                                      size_t count)
{
  struct check_summary s = {.calls = checker_calls(checker), .processes = processes, .rules = checker_rules(checker)};
  for (size_t i = 0; i < count; i++) {
    s.errors += list[i]->severity == SEVERITY_ERROR;
    s.warnings += list[i]->severity == SEVERITY_WARNING;
    s.infos += list[i]->severity == SEVERITY_INFO;
  }
  return s;
}

/* What is missing in the traces, and with it the findings that would have needed it. */
static void tell_losses(struct process *const *process, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (process[i]->damage[0]) fprintf(stderr, "p11trace check: %s: %s\n", process[i]->path, process[i]->damage);
    if (process[i]->dropped)
      fprintf(stderr, "p11trace check: %s: %llu records were lost; after each gap the state is unknown\n",
              process[i]->path, (unsigned long long)process[i]->dropped);
  }
}

static int check(const struct options *o)
{
  struct trace_set *set = trace_open(o->trace, o->traces);
  if (!set) return EXIT_COULD_NOT;
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  /* Times as `dump` shows them: since the first process's start. */
  struct checker *checker = checker_new(o->rule, o->rules, processes ? process[0]->first.monotonic : 0);
  struct event event;
  while (!trace_next(set, &event)) checker_event(checker, &event);
  struct finding *const *list;
  const size_t count = checker_findings(checker, &list);
  const struct check_summary s = summarize(checker, processes, list, count);
  bool written = true;
  if (o->json)
    written = check_print_json(stdout, list, count, &s);
  else
    check_print_text(stdout, list, count), check_print_summary(stdout, &s);
  if (checker_not_kept(checker))
    fprintf(stderr, "p11trace check: %llu more findings of rules that had 256 different ones\n",
            (unsigned long long)checker_not_kept(checker));
  tell_losses(process, processes);
  int status = EXIT_FINE;
  for (size_t i = 0; i < count; i++)
    if (list[i]->severity >= o->severity) status = EXIT_FOUND;
  if (trace_damaged(set)) status = EXIT_COULD_NOT;
  if (fflush(stdout) || ferror(stdout) || !written) {
    fputs("p11trace check: cannot write the result\n", stderr);
    status = EXIT_COULD_NOT;
  }
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
  struct options o = {.severity = SEVERITY_ERROR};
  argp_err_exit_status = EXIT_COULD_NOT;
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  int status = EXIT_FINE;
  if (o.explain)
    check_explain(stdout, rule_by_id(o.explain));
  else if (o.list)
    check_list(stdout);
  else
    status = check(&o);
  free(o.trace);
  free(o.rule);
  return status;
}
