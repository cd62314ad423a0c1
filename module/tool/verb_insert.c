/* p11token remove and p11token insert: a token goes out of its slot and comes back, and running programs see it. */
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "core/module.h"
#include "core/presence.h"
#include "store/store.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
  if (key == ARGP_KEY_ARG) tok_misuse(state, "not understood", arg, "a token is chosen with --token");
  return tok_option(state->input, key, arg, state);
}

/* clang-format off */
static const struct argp_option options[] = {
  TOK_OPTIONS_TOKEN,
  {0},
};
/* clang-format on */

/* C_GetTokenInfo says nothing of a token that is out, so the file is asked. */
static bool fits(const struct tok_args *args, const struct tok_slot *slot, const struct tok_token_record *token)
{
  char label[sizeof token->label + 1];
  int len = sizeof token->label;
  while (len > 0 && token->label[len - 1] == ' ') len--;
  snprintf(label, sizeof label, "%.*s", len, token->label);
  if (args->has_slot && args->slot != slot->id) return false;
  if (args->label != NULL && strcmp(args->label, label) != 0) return false;
  return args->serial == NULL || (strlen(args->serial) == sizeof token->serial &&
                                  memcmp(args->serial, token->serial, sizeof token->serial) == 0);
}

size_t tok_fitting(const struct tok_args *args, enum tok_which which, struct tok_slot **first)
{
  struct tok_slot **slots;
  struct tok_token_record token;
  size_t count = tok_slots_list(false, &slots), found = 0;
  for (size_t i = 0; i < count; i++) {
    struct tok_slot *slot = slots[i];
    if (which == TOK_REMOVABLE && !slot->removable) continue;
    if (which == TOK_OUT && !tok_card_is_out(tok_slot_changes(slot))) continue;
    if (slot->store == NULL || tok_store_token(slot->store, &token) != CKR_OK || !fits(args, slot, &token)) continue;
    if (found++ == 0) *first = slot;
  }
  return found;
}

static bool turn(const struct tok_args *args, bool out)
{
  const char *name = args->label != NULL    ? args->label
                     : args->serial != NULL ? args->serial
                                            : tok_module->config->directory;
  bool given = args->label != NULL || args->serial != NULL || args->has_slot, changed;
  struct tok_slot *slot = NULL;
  size_t found = tok_fitting(args, given ? TOK_ANY : TOK_REMOVABLE, &slot);
  if (found == 0)
    return tok_fail(given ? "no such token" : "no token that can be removed", name,
                    "p11token list shows which there are");
  if (found > 1) return tok_fail("more than one token", name, "choose with --token, --serial or --slot");
  if (!slot->removable)
    return tok_fail("the token cannot be removed", slot->path, "only one made with p11token init --removable can");
  if (!tok_card_turn(slot->path, out, &changed))
    return tok_fail("cannot change", slot->path, "%s" TOK_CARD_SUFFIX ": %s", slot->path, strerror(errno));
  printf("slot %lu: %s%s\n", slot->id, changed ? "" : "was ", out ? "removed" : "inserted");
  return true;
}

static int run(int argc, char **argv, bool out, const struct argp *argp)
{
  static struct tok_args args = TOK_ARGS_NEW;
  if (argp_parse(argp, argc, argv, 0, NULL, &args) != 0) return TOK_COULD_NOT;
  bool good = tok_start(&args, NULL);
  if (good) {
    good = turn(&args, out);
    tok_stop();
  }
  tok_args_clear(&args);
  return good ? TOK_FINE : TOK_COULD_NOT;
}

int tok_verb_remove(int argc, char **argv)
{
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .doc =
          "Takes a token out of its slot, as one pulls a card: running programs lose their sessions and logins at it "
          "at "
          "once, and no program can use it until p11token insert. Nothing on it is lost. Only tokens that were made "
          "with p11token init --removable can be removed.",
  };
  return run(argc, argv, true, &argp);
}

int tok_verb_insert(int argc, char **argv)
{
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .doc = "Puts a token that p11token remove has taken out back into its slot.",
  };
  return run(argc, argv, false, &argp);
}
