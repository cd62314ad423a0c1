/* p11token pin: a new PIN for the user or the security officer. */
#include "tool/tool.h"

#include <stdio.h>

enum { OPT_SO = TOK_OPT_OWN, OPT_UNLOCK };

struct arguments {
  struct tok_args common;
  bool so, unlock;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  switch (key) {
    case OPT_SO: args->so = true; return 0;
    case OPT_UNLOCK: args->unlock = true; return 0;
    case ARGP_KEY_ARG:
      tok_misuse(state, "not understood", arg, "PINs are given as options, in files or on the terminal");
    case ARGP_KEY_END:
      if (args->so && args->unlock) tok_misuse(state, "one at a time", "--so, --unlock", "choose");
      if (args->so || args->unlock) {
        if (args->common.pin.bytes != NULL)
          tok_misuse(state, "not needed", "--pin", "the security officer's PIN is --so-pin");
      } else if (args->common.so_pin.bytes != NULL) {
        tok_misuse(state, "not needed", "--so-pin", "add --so or --unlock");
      }
      return 0;
    default: return tok_option(&args->common, key, arg, state);
  }
}

/* clang-format off */
static const struct argp_option options[] = {
  {"so", OPT_SO, NULL, 0, "Change the security officer's PIN", 1},
  {"unlock", OPT_UNLOCK, NULL, 0, "Set a new user PIN with the security officer's PIN", 1},
  {"new-pin", TOK_OPT_NEW_PIN, "PIN", 0, "The new PIN; without it, asked for twice", 2},
  {"new-pin-file", TOK_OPT_NEW_PIN_FILE, "FILE", 0, "The new PIN is the first line of FILE (- is standard input)", 2},
  TOK_OPTIONS_PIN,
  TOK_OPTIONS_SO_PIN,
  TOK_OPTIONS_TOKEN,
  {0},
};
/* clang-format on */

static bool change(struct arguments *args)
{
  struct tok_args *common = &args->common;
  struct tok_secret *old = args->so || args->unlock ? &common->so_pin : &common->pin;
  struct tok_place place;
  if (!tok_choose(common, &place)) return false;
  bool set = (place.info.flags & CKF_USER_PIN_INITIALIZED) != 0;
  if (old == &common->pin && !set)
    return tok_fail_rv("cannot change the PIN", place.label, CKR_USER_PIN_NOT_INITIALIZED);
  if (!tok_open(&place, true) || !tok_log_in(&place, old == &common->so_pin ? CKU_SO : CKU_USER, old)) return false;
  if (!tok_secret_need(&common->new_pin, "new-pin", true) || !tok_pin_fits(&place, &common->new_pin)) return false;
  CK_UTF8CHAR_PTR new_pin = (CK_UTF8CHAR_PTR)common->new_pin.bytes;
  CK_RV rv = args->unlock
                 ? C_InitPIN(place.session, new_pin, common->new_pin.len)
                 : C_SetPIN(place.session, (CK_UTF8CHAR_PTR)old->bytes, old->len, new_pin, common->new_pin.len);
  if (rv != CKR_OK) return tok_fail_rv("cannot change the PIN", place.label, rv);
  printf("%s: the %s is changed\n", place.label, args->so ? common->so_pin.name : common->pin.name);
  return true;
}

int tok_verb_pin(int argc, char **argv)
{
  static struct arguments args = {.common = TOK_ARGS_NEW};
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .doc =
          "Changes the user's PIN, or with --so the security officer's. With --unlock the security officer sets a new "
          "user "
          "PIN, whether the old one was forgotten, locked or never set.",
  };
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return TOK_COULD_NOT;
  bool good = tok_start(&args.common, NULL);
  if (good) {
    good = change(&args);
    tok_stop();
  }
  tok_args_clear(&args.common);
  return good ? TOK_FINE : TOK_COULD_NOT;
}
