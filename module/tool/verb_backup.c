/* p11token backup: a copy of a token file while others use it. */
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/slots.h"
#include "store/store.h"

struct arguments {
  struct tok_args common;
  const char *file;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  switch (key) {
    case ARGP_KEY_ARG:
      if (args->file != NULL) tok_misuse(state, "more than one file", arg, "name one");
      args->file = arg;
      return 0;
    case ARGP_KEY_END:
      if (args->file == NULL) tok_misuse(state, "no file", "FILE", "name the copy");
      return 0;
    default: return tok_option(&args->common, key, arg, state);
  }
}

/* clang-format off */
static const struct argp_option options[] = {
  {"force", TOK_OPT_FORCE, NULL, 0, "Replace FILE if it exists", 1},
  TOK_OPTIONS_TOKEN,
  {0},
};
/* clang-format on */

/* The copy is made under another name first, so that an old one is there until the new one is whole. */
static bool copy(const struct arguments *args)
{
  struct tok_place place;
  char temporary[4096];
  if (!tok_choose(&args->common, &place)) return false;
  if (access(args->file, F_OK) == 0 && !args->common.force) {
    return tok_fail("the file exists", args->file, "choose another name, or add --force");
  }
  struct tok_slot *slot = tok_slot_by_id(place.slot);
  if (slot == NULL || slot->store == NULL) return tok_fail_rv("cannot use the token", place.label, CKR_DEVICE_ERROR);
  int n = snprintf(temporary, sizeof temporary, "%s.%ld", args->file, (long)getpid());
  if (n < 0 || n >= (int)sizeof temporary) return tok_fail("cannot write", args->file, "%s", strerror(ENAMETOOLONG));
  errno = 0;
  CK_RV rv = tok_store_backup(slot->store, temporary);
  if (rv == CKR_DEVICE_ERROR) {
    return tok_fail("cannot copy the token", args->file, "%s",
                    errno != 0 ? strerror(errno) : "the folder cannot be written, or the token file is damaged");
  }
  if (rv != CKR_OK) return tok_fail_rv("cannot copy the token", args->file, rv);
  if (!tok_put_in_place(temporary, args->file, args->common.force)) {
    int error = errno;
    unlink(temporary);
    return tok_fail("cannot write", args->file, "%s", strerror(error));
  }
  printf("%s: copied to %s\n", place.label, args->file);
  return true;
}

int tok_verb_backup(int argc, char **argv)
{
  static struct arguments args = {.common = TOK_ARGS_NEW};
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .args_doc = "FILE",
      .doc =
          "Copies a token into FILE, whole, even while programs use it. No PIN is needed, and the copy tells no more "
          "than the "
          "token file does: it is opened by the PINs that it had when it was copied. To restore it, stop the programs "
          "that "
          "use the token, remove NAME.p11token-wal and NAME.p11token-shm beside it and copy FILE to NAME.p11token in "
          "the "
          "folder of the tokens; p11token list shows the names.",
  };
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return TOK_COULD_NOT;
  bool good = tok_start(&args.common, NULL);
  if (good) {
    good = copy(&args);
    tok_stop();
  }
  tok_args_clear(&args.common);
  return good ? TOK_FINE : TOK_COULD_NOT;
}
