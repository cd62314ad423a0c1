/* p11trace: the table of verbs. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/cmd/plain_stderr.h"
#include "shim/trace/version.h"

static const struct {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *what;
} verbs[] = {
    {"run",       cmd_run,       "run a command and trace every module in it and its children"    },
    {"info",      cmd_info,      "what a trace holds: process, modules, counts, is it complete"   },
    {"dump",      cmd_dump,      "the calls, as text or JSON lines"                               },
    {"follow",    cmd_follow,    "the calls while they are recorded"                              },
    {"stat",      cmd_stat,      "calls, errors and times per function"                           },
    {"state",     cmd_state,     "sessions and logins: what the module said, and each prompt"     },
    {"objects",   cmd_objects,   "the objects of each token, and what NSS makes of them"          },
    {"check",     cmd_check,     "what the module does that NSS does not expect"                  },
    {"rules",     cmd_rules,     "what check looks for, and which answer of the FAQ it comes from"},
    {"report",    cmd_report,    "one page of HTML: logins, findings and their evidence, calls"   },
    {"replay",    cmd_replay,    "the calls again on another module, and what differs"            },
    {"diff",      cmd_diff,      "what a module answered otherwise in another trace"              },
    {"emit-c",    cmd_emit_c,    "a C program that makes the recorded calls"                      },
    {"recover",   cmd_recover,   "fold NAME.p11t.live into NAME.p11t after a process was killed"  },
    {"pack",      cmd_pack,      "all files of a case as one to send"                             },
    {"merge",     cmd_merge,     "the files of a process as one"                                  },
    {"trim",      cmd_trim,      "a smaller trace: the calls that you choose"                     },
    {"redact",    cmd_redact,    "a copy that says less"                                          },
    {"import",    cmd_import,    "JSON lines to a trace"                                          },
    {"symbolize", cmd_symbolize, "names for call stacks, written beside the trace"                },
    {"keygen",    cmd_keygen,    "the key pair that capture=full seals to"                        },
    {"wrap",      cmd_wrap,      "make a traced copy of a module for modutil, a policy or p11-kit"},
    {"doctor",    cmd_doctor,    "why is nothing traced?"                                         },
};
enum { VERBS = sizeof verbs / sizeof *verbs };

const char *argp_program_version = "p11trace " P11T_VERSION;

static void usage(FILE *to)
{
  fputs(
      "Usage: p11trace VERB [OPTION...] TRACE...\n"
      "Records and reads the PKCS #11 calls between an application and a module.\n\n",
      to);
  for (int i = 0; i < VERBS; i++) fprintf(to, "  %-9s %s\n", verbs[i].name, verbs[i].what);
  fputs(
      "\nA TRACE is a file NAME.p11t, a folder of them, or - for standard input.\n"
      "p11trace VERB --help tells of a verb's options.\n"
      "Exit status: 0 fine, 1 found something, 2 could not, or bytes of a trace are lost.\n",
      to);
}

/* How many changes of one letter make `a` of `b`; for the hint only. */
static size_t distance(const char *a, const char *b)
{
  size_t n = strlen(b), row[32];
  if (n > 30) return 99;
  for (size_t k = 0; k <= n; k++) row[k] = k;
  for (size_t i = 0; a[i] != '\0'; i++) {
    size_t corner = row[0];
    row[0] = i + 1;
    for (size_t k = 0; k < n; k++) {
      size_t best = corner + (a[i] != b[k]);
      corner = row[k + 1];
      if (row[k] + 1 < best) best = row[k] + 1;
      if (corner + 1 < best) best = corner + 1;
      row[k + 1] = best;
    }
  }
  return row[n];
}

static int unknown(const char *verb)
{
  fprintf(stderr, "p11trace: %s: no such verb", verb);
  for (int i = 0; i < VERBS; i++) {
    if (distance(verb, verbs[i].name) <= 2) {
      fprintf(stderr, ", did you mean '%s'?\n", verbs[i].name);
      return EXIT_COULD_NOT;
    }
  }
  fputs(":", stderr);
  for (int i = 0; i < VERBS; i++) fprintf(stderr, " %s", verbs[i].name);
  fputs("; see p11trace --help\n", stderr);
  return EXIT_COULD_NOT;
}

int main(int argc, char **argv)
{
  plain_stderr();
  argp_err_exit_status = EXIT_COULD_NOT;
  if (argc < 2) {
    usage(stderr);
    return EXIT_COULD_NOT;
  }
  const char *verb = argv[1];
  if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "-?") == 0 || strcmp(verb, "help") == 0) {
    usage(stdout);
    return EXIT_FINE;
  }
  if (strcmp(verb, "--version") == 0 || strcmp(verb, "-V") == 0) {
    puts(argp_program_version);
    return EXIT_FINE;
  }
  for (int i = 0; i < VERBS; i++) {
    if (strcmp(verb, verbs[i].name) != 0) continue;
    char name[64];
    snprintf(name, sizeof name, "p11trace %s", verb);
    argv[1] = name;
    int status = verbs[i].run(argc - 1, argv + 1);
    if (fflush(stdout) != 0 && status == EXIT_FINE) {
      perror("p11trace: standard output");
      status = EXIT_COULD_NOT;
    }
    return status;
  }
  return unknown(verb);
}
