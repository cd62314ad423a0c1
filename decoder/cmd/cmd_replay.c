/* p11trace replay: options only, the work is in decoder/replay. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/filter/filter_option.h"
#include "decoder/replay/judgement.h"
#include "decoder/replay/pin_file.h"
#include "decoder/seal/seal.h"

static const char doc[] =
    "Makes the calls of traces again on another module and says where it answers otherwise.\v"
    "A TRACE is a file, a folder of them, or -. Each recorded process is replayed in a process of its own, one after "
    "another in the order of their start. A process with several modules: --recorded says whose calls are meant, else "
    "the one with NEW's file name, else the only one that is neither softoken nor p11-kit.\n"
    "\n"
    "A replay does not hurt a card: without --destructive no token or PIN is initialised or set, nothing is destroyed "
    "or changed that the replay did not make, and no wrong PIN is tried again. Objects that the replay makes stay on "
    "the token as the trace leaves them.\n"
    "\n"
    "--expect FILE, one accepted difference a line (* stands for any characters, # begins a comment):\n"
    "  FUNCTION PLACE [RECORDED -> REPLAYED] : REASON\n"
    "  C_GetTokenInfo pInfo.label : the new card has a label of its own\n"
    "  C_Login rv [CKR_PIN_LEN_RANGE -> CKR_PIN_INCORRECT] : both are allowed\n"
    "\n" FILTER_HELP
    "\n"
    "Exit status: 0 the same, 1 different, slower than --max-slowdown allows, or an expected difference is not there, "
    "2 could not, or bytes of a trace are lost (after replaying the rest).";

enum {
  KEY_MODULE = 256,
  KEY_RECORDED,
  KEY_PARAMETERS,
  KEY_PIN,
  KEY_PIN_FILE,
  KEY_SO_PIN_FILE,
  KEY_MODE,
  KEY_SPEED,
  KEY_UNTIL,
  KEY_CALLS,
  KEY_SLOT,
  KEY_PREPARE,
  KEY_DESTRUCTIVE,
  KEY_KEY,
  KEY_TIMEOUT,
  KEY_JOBS,
  KEY_EXPECT,
  KEY_SLOWDOWN,
  KEY_JSON,
  KEY_JUNIT,
  KEY_QUIET
};

/* clang-format off */
static const struct argp_option option[] = {
  {"module",       KEY_MODULE,      "NEW.so",  0, "The library to be tried", 1},
  {"recorded",     KEY_RECORDED,    "PART",    0, "Replay the calls of the recorded module whose path has PART in it", 1},
  {"parameters",   KEY_PARAMETERS,  "STRING",  0, "Parameters for C_Initialize (the member behind flags), as softoken and p11token take them", 1},
  {"slot",         KEY_SLOT,        "OLD=NEW", 0, "Slot OLD of the trace is slot NEW today (may be repeated); else by label, serial, model, then order", 1},
  {"prepare",      KEY_PREPARE,     NULL,      0, "Make the objects that the trace expects to find on the token first", 1},
  {"pin-file",     KEY_PIN_FILE,    "FILE",    0, "The user's PIN is the first line of FILE (- is standard input)", 2},
  {"pin",          KEY_PIN,         "PIN",     0, "The user's PIN", 2},
  {"so-pin-file",  KEY_SO_PIN_FILE, "FILE",    0, "The security officer's PIN is the first line of FILE", 2},
  {"destructive",  KEY_DESTRUCTIVE, NULL,      0, "Do what changes the token for good as well: PINs, C_InitToken, objects", 2},
  {"key",          KEY_KEY,         "FILE",    0, "Opens what capture=full sealed (p11trace keygen)", 2},
  {"mode",         KEY_MODE,        "MODE",    0, "serial (default): one thread; relay: the recorded threads, one call at a time; free: the recorded threads, as free as they were", 3},
  {"speed",        KEY_SPEED,       "SPEED",   0, "max (default), or recorded: wait as the application did", 3},
  {"until",        KEY_UNTIL,       "N",       0, "Stop behind call #N", 3},
  {"calls",        KEY_CALLS,       "SET",     0, "Replay these calls only: 10-200,300-", 3},
  {"expression",   'e',             "EXPR",    0, "Replay calls that this is true of only (may be repeated)", 3},
  {"timeout",      KEY_TIMEOUT,     "SECONDS", 0, "A call that takes longer is reported and the replay ended (30)", 3},
  {"jobs",         KEY_JOBS,        "N",       0, "Replay N processes at the same time; they share the token", 3},
  {"expect",       KEY_EXPECT,      "FILE",    0, "Differences that are accepted, each with its reason", 4},
  {"max-slowdown", KEY_SLOWDOWN,    "F=P%",    0, "Exit with status 1 when the median of function F is more than P % above the recorded one, of 20 calls or more (may be repeated)", 4},
  {"json",         KEY_JSON,        NULL,      0, "Print one JSON object", 5},
  {"junit",        KEY_JUNIT,       "FILE",    0, "Write JUnit XML to FILE too: a case for each trace", 5},
  {"verbose",      'v',             NULL,      0, "Recorded and replayed time of each function too", 5},
  {"quiet",        KEY_QUIET,       NULL,      0, "Print nothing, only the exit status", 5},
  {0}
};
/* clang-format on */

struct options {
  struct replay_options replay;
  struct arguments_list traces, slots;
  struct filter *filter;
  struct slow_limit *limit;
  size_t limits;
  const char *expect, *junit, *key;
  unsigned jobs;
  bool json, verbose, quiet;
};

static uint64_t number(struct argp_state *state, const char *name, const char *text, uint64_t least, uint64_t most)
{
  char *end;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 0);
  if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < least || value > most)
    argp_error(state, "%s wants a number from %llu to %llu, not %s", name, (unsigned long long)least,
               (unsigned long long)most, text);
  return value;
}

static void add_slot(struct argp_state *state, struct options *o, const char *text)
{
  unsigned long long from, to;
  char more;
  if (sscanf(text, "%lli=%lli%c", (long long *)&from, (long long *)&to, &more) != 2)
    argp_error(state, "--slot wants OLD=NEW, two numbers of slots, not %s", text);
  arguments_add(&o->slots, text);
}

static void add_limit(struct argp_state *state, struct options *o, const char *text)
{
  char name[64];
  unsigned percent;
  char sign = '\0', more;
  const int read = sscanf(text, "%63[^=]=%u%c%c", name, &percent, &sign, &more);
  if (read < 2 || read > 3 || (read == 3 && sign != '%') || percent > 1000000)
    argp_error(state, "--max-slowdown wants FUNCTION=P%%, for instance C_Sign=20%%, not %s", text);
  const int function = p11_function_by_name(name);
  if (function < 0) argp_error(state, "--max-slowdown: there is no function %s", name);
  o->limit = read_realloc(o->limit, (o->limits + 1) * sizeof *o->limit);
  o->limit[o->limits++] = (struct slow_limit){.function = function, .percent = percent};
}

static enum replay_mode mode_of(struct argp_state *state, const char *text)
{
  if (strcmp(text, "serial") == 0) return REPLAY_SERIAL;
  if (strcmp(text, "relay") == 0) return REPLAY_RELAY;
  if (strcmp(text, "free") != 0) argp_error(state, "--mode is serial, relay or free, not %s", text);
  return REPLAY_FREE;
}

static void check_end(struct argp_state *state, struct options *o)
{
  if (o->traces.count == 0) argp_error(state, "which trace? Give files, directories or -");
  if (o->replay.module == NULL) argp_error(state, "on which module? Give --module NEW.so");
  if (o->quiet && o->json) argp_error(state, "--quiet and --json do not go together");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  struct replay_options *r = &o->replay;
  switch (key) {
    case KEY_MODULE: r->module = arg; return 0;
    case KEY_RECORDED: r->recorded = arg; return 0;
    case KEY_PARAMETERS: r->parameters = arg; return 0;
    case KEY_PIN:
      if (!pin_argument(&r->user, arg)) exit(EXIT_COULD_NOT);
      return 0;
    case KEY_PIN_FILE:
      if (!pin_file_read(&r->user, arg)) exit(EXIT_COULD_NOT);
      return 0;
    case KEY_SO_PIN_FILE:
      if (!pin_file_read(&r->so, arg)) exit(EXIT_COULD_NOT);
      return 0;
    case KEY_KEY: o->key = arg; return 0;
    case KEY_MODE: r->mode = mode_of(state, arg); return 0;
    case KEY_SPEED:
      r->recorded_speed = strcmp(arg, "recorded") == 0;
      if (!r->recorded_speed && strcmp(arg, "max") != 0) argp_error(state, "--speed is max or recorded, not %s", arg);
      return 0;
    case KEY_UNTIL: r->until = number(state, "--until", arg, 1, UINT64_MAX); return 0;
    case KEY_CALLS: filter_option_calls("p11trace replay", o->filter, arg); return 0;
    case 'e': filter_option_expression("p11trace replay", o->filter, arg); return 0;
    case KEY_SLOT: add_slot(state, o, arg); return 0;
    case KEY_PREPARE: r->prepare = true; return 0;
    case KEY_DESTRUCTIVE: r->destructive = true; return 0;
    case KEY_TIMEOUT: r->timeout = (unsigned)number(state, "--timeout", arg, 1, 86400); return 0;
    case KEY_JOBS: o->jobs = (unsigned)number(state, "--jobs", arg, 1, 256); return 0;
    case KEY_EXPECT: o->expect = arg; return 0;
    case KEY_SLOWDOWN: add_limit(state, o, arg); return 0;
    case KEY_JSON: o->json = true; return 0;
    case KEY_JUNIT: o->junit = arg; return 0;
    case 'v': o->verbose = true; return 0;
    case KEY_QUIET: o->quiet = true; return 0;
    case ARGP_KEY_ARG: arguments_add(&o->traces, arg); return 0;
    case ARGP_KEY_END: check_end(state, o); return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

/* A name without a slash is a file of this folder, if there is one, as everywhere; else the loader looks for it. */
static char *module_path(const char *given)
{
  char *path;
  if (strchr(given, '/') != NULL || access(given, F_OK) != 0) return read_strdup(given);
  if (asprintf(&path, "./%s", given) < 0) return read_strdup(given);
  return path;
}

static bool write_junit(const char *path, const struct judgement *v)
{
  FILE *f = fopen(path, "we");
  const bool written = f != NULL && replay_print_junit(f, v);
  if (f != NULL && fclose(f) == 0 && written) return true;
  fprintf(stderr, "p11trace replay: %s: cannot write it: %s\n", path, strerror(errno));
  return false;
}

/* What goes without saying in the result but not for who reads it. */
static void notes(const struct jobs *jobs, const struct options *o)
{
  if (jobs->overlapping > 0 && o->jobs <= 1)
    fprintf(stderr,
            "p11trace replay: %zu of %zu processes ran while another one did; they are replayed one after another\n",
            jobs->overlapping, jobs->count);
  if (jobs->passed_over > 0)
    fprintf(stderr, "p11trace replay: %zu process%s without a call of the module %s passed over\n", jobs->passed_over,
            jobs->passed_over == 1 ? "" : "es", jobs->passed_over == 1 ? "is" : "are");
}

/* Everything is known; the module is good. */
static int replay(struct options *o, struct expectations *expectations)
{
  struct jobs jobs = {0};
  struct judgement v = {.jobs = &jobs,
                        .options = &o->replay,
                        .limit = o->limit,
                        .limits = o->limits,
                        .expectations = o->expect != NULL ? expectations : NULL};
  int status = EXIT_COULD_NOT;
  if (jobs_survey(&jobs, o->traces.at, o->traces.count, &o->replay)) {
    if (!o->quiet) notes(&jobs, o);
    jobs_run(&jobs, &o->replay, o->jobs);
    judgement_make(&v);
    explain(&v);
    bool written = true;
    if (o->junit != NULL && !write_junit(o->junit, &v)) v.status = EXIT_COULD_NOT;
    if (o->json) written = replay_print_json(stdout, &v);
    if (!o->json && !o->quiet) written = replay_print_text(stdout, &v, o->verbose);
    status = arguments_written("replay", written) ? v.status : EXIT_COULD_NOT;
  }
  judgement_free(&v);
  jobs_free(&jobs);
  return status;
}

/* PINs and keys are in this process and in those that it forks, and a module may crash each of these. A limit of 1 makes no
 * file, and core handlers behind a pipe are not started either; of 0 those take no notice (Linux, fs/coredump.c). */
static void leave_no_core(void)
{
  setrlimit(RLIMIT_CORE, &(struct rlimit){1, 1});
}

int cmd_replay(int argc, char **argv)
{
  static const struct argp argp = {option, parse, "TRACE...", doc, NULL, NULL, NULL};
  struct options o = {.replay = {.timeout = 30}, .jobs = 1, .filter = filter_new()};
  leave_no_core();
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  char *module = module_path(o.replay.module);
  o.replay.module = module;
  o.replay.calls = filter_is_empty(o.filter) ? NULL : o.filter;
  if (o.slots.count > 0) arguments_add(&o.slots, NULL);
  o.replay.slot = o.slots.at;
  struct expectations expectations = {0};
  struct seal_key *key = o.key != NULL ? seal_key_read("p11trace replay", o.key) : NULL;
  o.replay.key = key;
  int status = EXIT_COULD_NOT;
  if ((o.key == NULL || key != NULL) && (o.expect == NULL || expect_read(&expectations, o.expect)) &&
      try_module(module))
    status = replay(&o, &expectations);
  expect_free(&expectations);
  seal_key_free(key);
  explicit_bzero(&o.replay.user, sizeof o.replay.user);
  explicit_bzero(&o.replay.so, sizeof o.replay.so);
  free(module);
  free(o.limit);
  free(o.traces.at);
  free(o.slots.at);
  filter_free(o.filter);
  return status;
}
