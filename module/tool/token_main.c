/* p11token: the table of verbs. */
#include "tool/tool.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "core/version.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static const struct {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *what;
} verbs[] = {
    {"init",   tok_verb_init,   "make a new token"                                   },
    {"list",   tok_verb_list,   "the tokens, or the objects of one"                  },
    {"import", tok_verb_import, "put keys, certificates and CRLs of files on a token"},
    {"export", tok_verb_export, "write a certificate or a key of a token into a file"},
    {"pin",    tok_verb_pin,    "change a PIN, or set a new one after it was locked" },
    {"backup", tok_verb_backup, "copy a token that may be in use into one file"      },
    {"remove", tok_verb_remove, "take a token out of its slot, as one pulls a card"  },
    {"insert", tok_verb_insert, "put it back"                                        },
};
enum { VERBS = sizeof verbs / sizeof *verbs };

const char *argp_program_version = "p11token " TEXT(TOK_VERSION_MAJOR) "." TEXT(TOK_VERSION_MINOR);

static void usage(FILE *to)
{
  fputs(
      "Usage: p11token VERB [OPTION...]\n"
      "Looks after the tokens of libp11token.so, a software token for PKCS #11.\n\n",
      to);
  for (int i = 0; i < VERBS; i++) fprintf(to, "  %-7s %s\n", verbs[i].name, verbs[i].what);
  fputs(
      "\nThe tokens lie in the folder that P11TOKEN_DIR or the settings (P11TOKEN_CONF) name, or in --dir.\n"
      "PINs that are given neither as an option nor in a file are asked for on the terminal.\n"
      "p11token VERB --help tells of a verb's options.\n"
      "Exit status: 0 fine, 2 could not.\n",
      to);
}

static int unknown(const char *verb)
{
  fprintf(stderr, "p11token: %s: no such verb:", verb);
  for (int i = 0; i < VERBS; i++) fprintf(stderr, " %s", verbs[i].name);
  fputs("; see p11token --help\n", stderr);
  return TOK_COULD_NOT;
}

int main(int argc, char **argv)
{
  argp_err_exit_status = TOK_COULD_NOT;
  prctl(PR_SET_DUMPABLE, 0, 0, 0,
        0); /* PINs and keys of files go through here: no core, no debugger of the same user */
  /* A configuration file may name a PKCS #11 provider, which would load the module a second time. */
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
  if (argc < 2) {
    usage(stderr);
    return TOK_COULD_NOT;
  }
  const char *verb = argv[1];
  if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "-?") == 0 || strcmp(verb, "help") == 0) {
    usage(stdout);
    return TOK_FINE;
  }
  if (strcmp(verb, "--version") == 0 || strcmp(verb, "-V") == 0) {
    puts(argp_program_version);
    return TOK_FINE;
  }
  for (int i = 0; i < VERBS; i++) {
    if (strcmp(verb, verbs[i].name) != 0) continue;
    char name[64];
    snprintf(name, sizeof name, "p11token %s", verb);
    argv[1] = name;
    int status = verbs[i].run(argc - 1, argv + 1);
    if (fflush(stdout) != 0 && status == TOK_FINE) {
      perror("p11token: standard output");
      status = TOK_COULD_NOT;
    }
    return status;
  }
  return unknown(verb);
}
