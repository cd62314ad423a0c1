/* p11token list: which tokens there are, or what is on one. */
#include "tool/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "core/module.h"
#include "core/presence.h"
#include "store/store.h"

enum { OPT_LOGIN = TOK_OPT_OWN };

struct arguments {
  struct tok_args common;
  bool login;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  switch (key) {
    case OPT_LOGIN: args->login = true; return 0;
    case ARGP_KEY_ARG: tok_misuse(state, "not understood", arg, "a token is chosen with --token");
    case ARGP_KEY_END: {
      struct tok_args *common = &args->common;
      if (common->pin.bytes != NULL) args->login = true;
      if (args->login && common->label == NULL && common->serial == NULL && !common->has_slot) {
        tok_misuse(state, "no token", "--login", "say which with --token");
      }
      return 0;
    }
    default: return tok_option(&args->common, key, arg, state);
  }
}

/* clang-format off */
static const struct argp_option options[] = {
  {"login", OPT_LOGIN, NULL, 0, "Log in, to see private objects; a PIN that is given does it as well", 1},
  TOK_OPTIONS_PIN,
  TOK_OPTIONS_TOKEN,
  {0},
};
/* clang-format on */

/* A PIN's state in words. PKCS #11 tells it by flags only, and of an empty PIN nothing at all. */
static void print_pin(const char *name, const struct tok_pin_record *pin, uint32_t limit)
{
  printf("  %s: ", name);
  if (!pin->set) {
    puts("not set");
  } else if (limit > 0 && pin->failed >= limit) {
    printf("locked after %u wrong ones\n", pin->failed);
  } else if (!pin->usable_master) {
    puts("empty, until the first user PIN is set");
  } else if (pin->failed == 0) {
    puts("set");
  } else if (limit == 0) {
    printf("set, %u wrong ones\n", pin->failed);
  } else {
    printf("set, %u wrong ones, %u tries left\n", pin->failed, limit - pin->failed);
  }
}

/* The lines about a token; `place` has a session, or none if it cannot be opened. */
static bool print_token(struct tok_place *place, bool logged_in)
{
  CK_OBJECT_HANDLE *found;
  size_t count;
  struct tok_token_record token;
  const struct tok_slot *slot = tok_slot_by_id(place->slot);
  CK_RV rv = tok_store_token(slot->store, &token);
  if (rv != CKR_OK) return tok_fail_rv("cannot use the token", slot->path, rv);
  printf("slot %lu  ", place->slot);
  tok_print_text((const CK_BYTE *)place->label, strlen(place->label));
  printf("  serial %s\n", place->serial);
  print_pin("user PIN", &token.user, token.pin_limit);
  print_pin("security officer's PIN", &token.so, token.so_pin_limit);
  printf("  cost of a PIN: %u\n", token.user.set ? token.user.cost : token.so.cost);
  if (slot->removable) puts("  can be removed");
  printf("  file: %s\n", slot->path);
  if (!tok_find_all(place, NULL, &found, &count)) return false;
  printf("  objects: %zu%s\n", count, logged_in ? "" : ", not counting private ones");
  free(found);
  return true;
}

/* Tokens that p11token remove has taken out: their files are there, but the module tells nothing of them. */
static bool list_removed(void)
{
  struct tok_slot **slots;
  size_t count = tok_slots_list(false, &slots);
  bool any = false;
  for (size_t i = 0; i < count; i++) {
    struct tok_token_record token;
    if (slots[i]->store == NULL || tok_slot_present(slots[i]) == CKR_OK ||
        tok_store_token(slots[i]->store, &token) != CKR_OK)
      continue;
    size_t len = sizeof token.label;
    while (len > 0 && token.label[len - 1] == ' ') len--;
    printf("slot %lu  ", slots[i]->id);
    tok_print_text((const CK_BYTE *)token.label, len);
    printf("  serial %.*s\n  removed: p11token insert puts it back\n  file: %s\n", (int)sizeof token.serial,
           token.serial, slots[i]->path);
    any = true;
  }
  return any;
}

static bool list_tokens(void)
{
  CK_SLOT_ID *slots;
  CK_ULONG count;
  bool good = true, any = false;
  if (!tok_slots(&slots, &count)) return false;
  for (CK_ULONG i = 0; i < count; i++) {
    struct tok_place place;
    const struct tok_slot *slot = tok_slot_by_id(slots[i]);
    if (slot->path == NULL) continue; /* blank */
    any = true;
    CK_RV rv = tok_look(slots[i], &place);
    if (rv != CKR_OK) {
      good = tok_fail_rv("cannot use the token", slot->path, rv);
    } else {
      good &= tok_open(&place, false) && print_token(&place, false);
    }
  }
  any |= list_removed();
  if (!any) printf("no token in %s; p11token init --label NAME makes one\n", tok_module->config->directory);
  free(slots);
  return good;
}

static bool list_objects(struct arguments *args)
{
  struct tok_place place;
  CK_OBJECT_HANDLE *found;
  size_t count;
  if (!tok_choose(&args->common, &place) || !tok_open(&place, false)) return false;
  if (args->login && !tok_log_in(&place, CKU_USER, &args->common.pin)) return false;
  if (!print_token(&place, args->login) || !tok_find_all(&place, NULL, &found, &count)) return false;
  for (size_t i = 0; i < count; i++) {
    printf("    ");
    tok_describe(&place, found[i]);
  }
  free(found);
  return true;
}

int tok_verb_list(int argc, char **argv)
{
  static struct arguments args = {.common = TOK_ARGS_NEW};
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .doc =
          "Lists the tokens with the state of their PINs; with --token, --serial or --slot also the objects of that "
          "one: "
          "private ones only after --login.",
  };
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return TOK_COULD_NOT;
  struct tok_args *common = &args.common;
  bool good = tok_start(common, NULL);
  if (good) {
    bool one = common->label != NULL || common->serial != NULL || common->has_slot;
    good = one ? list_objects(&args) : list_tokens();
    tok_stop();
  }
  tok_args_clear(common);
  return good ? TOK_FINE : TOK_COULD_NOT;
}
