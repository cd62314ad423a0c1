/* p11token init: a new token, or an old one made new. */
#include "tool/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_LABEL = TOK_OPT_OWN, OPT_COST, OPT_REMOVABLE };

struct arguments {
  struct tok_args common;
  const char *label;
  unsigned long cost; /* 0: as configured */
  bool removable;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct arguments *args = state->input;
  char *end;
  switch (key) {
    case OPT_LABEL: args->label = arg; return 0;
    case OPT_COST:
      args->cost = strtoul(arg, &end, 10);
      /* scrypt takes 1 KiB << cost; beyond 1 GiB no PIN could be checked on many a machine. */
      if (*end != '\0' || args->cost < 4 || args->cost > 20) tok_misuse(state, "not a cost", arg, "give 4 to 20");
      return 0;
    case OPT_REMOVABLE: args->removable = true; return 0;
    case ARGP_KEY_ARG: tok_misuse(state, "not understood", arg, "the label is given with --label");
    case ARGP_KEY_END:
      if (args->removable && (args->common.label != NULL || args->common.serial != NULL || args->common.has_slot))
        tok_misuse(state, "only a new token can be made so", "--removable", "leave it out, or make another token");
      if (args->label == NULL || args->label[0] == '\0')
        tok_misuse(state, "no label", "--label", "give the token a name");
      if (strlen(args->label) > 32) tok_misuse(state, "label too long", args->label, "give at most 32 bytes");
      if (args->common.so_pin.bytes != NULL && args->common.so_pin.len == 0 && args->common.pin.bytes != NULL) {
        tok_misuse(state, "no security officer to set it", "--pin",
                   "leave it out, or give a --so-pin that is not empty");
      }
      return 0;
    default: return tok_option(&args->common, key, arg, state);
  }
}

/* clang-format off */
static const struct argp_option options[] = {
  {"label", OPT_LABEL, "LABEL", 0, "Name of the token, at most 32 bytes", 1},
  TOK_OPTIONS_PIN,
  TOK_OPTIONS_SO_PIN,
  {"kdf-cost", OPT_COST, "N", 0, "What a try of a PIN costs: 2^N blocks of scrypt (default 15, about 0.1 s)", 2},
  {"removable", OPT_REMOVABLE, NULL, 0, "p11token remove can take it out of its slot, as a card", 2},
  {"force", TOK_OPT_FORCE, NULL, 0, "Destroy the objects of the token that is chosen; allow a label twice", 2},
  TOK_OPTIONS_TOKEN,
  {0},
};
/* clang-format on */

/* The slot to initialise: the one that was chosen, or the blank one. */
static bool find_place(const struct arguments *args, struct tok_place *place)
{
  const struct tok_args *common = &args->common;
  if (common->label != NULL || common->serial != NULL || common->has_slot) {
    if (!tok_choose(common, place)) return false;
    return common->force ||
           tok_fail("the token has been initialised", place->label, "--force destroys everything on it");
  }
  CK_SLOT_ID *slots;
  CK_ULONG count;
  bool found = false, taken = false;
  if (!tok_slots(&slots, &count)) return false;
  for (CK_ULONG i = 0; i < count; i++) {
    struct tok_place candidate;
    if (tok_look(slots[i], &candidate) != CKR_OK) continue;
    if ((candidate.info.flags & CKF_TOKEN_INITIALIZED) != 0) {
      taken |= strcmp(candidate.label, args->label) == 0;
    } else if (!found) {
      *place = candidate;
      found = true;
    }
  }
  free(slots);
  taken |= tok_fitting(&(struct tok_args){.label = args->label}, TOK_OUT, &(struct tok_slot *){NULL}) > 0;
  if (taken && !common->force)
    return tok_fail("there is a token of this name", args->label, "choose another, or add --force");
  return found || tok_fail("no slot for a new token", args->label, "look at the settings of the module");
}

/* Why it is right to leave the user's PIN unset: NSS sets a first PIN itself, by logging in as a security officer whose
 * PIN is empty (PK11_InitPin, pk11auth.c), which the token allows as long as there is no user PIN. */
static bool for_nss(const struct tok_args *common)
{
  return common->so_pin.len == 0;
}

static bool set_pin(struct tok_place *place, struct tok_args *common)
{
  if (!tok_open(place, true) || !tok_log_in(place, CKU_SO, &common->so_pin)) return false;
  CK_RV rv = C_InitPIN(place->session, (CK_UTF8CHAR_PTR)common->pin.bytes, common->pin.len);
  C_CloseSession(place->session);
  return rv == CKR_OK || tok_fail_rv("cannot set the user's PIN", place->label, rv);
}

static bool make(struct arguments *args)
{
  struct tok_args *common = &args->common;
  struct tok_place place;
  if (!find_place(args, &place)) return false;
  bool again = (place.info.flags & CKF_TOKEN_INITIALIZED) != 0;
  if (!tok_secret_need(&common->so_pin, "so-pin", !again)) return false;
  bool first_pin_by_nss = for_nss(common) && common->pin.bytes == NULL;
  if (!first_pin_by_nss) {
    if (!tok_secret_need(&common->pin, "pin", true)) return false;
    /* Before anything is made: a token without its PIN would be left behind. */
    if (!tok_pin_fits(&place, &common->pin) || !tok_pin_fits(&place, &common->so_pin)) return false;
  }
  CK_UTF8CHAR label[32];
  memset(label, ' ', sizeof label);
  memcpy(label, args->label, strlen(args->label));
  CK_RV rv = C_InitToken(place.slot, (CK_UTF8CHAR_PTR)common->so_pin.bytes, common->so_pin.len, label);
  if (rv != CKR_OK) return tok_fail_rv("cannot make the token", args->label, rv);
  rv = tok_look(place.slot, &place);
  if (rv != CKR_OK) return tok_fail_rv("cannot use the token", args->label, rv);
  if (!first_pin_by_nss && !set_pin(&place, common)) return false;
  printf("slot %lu, serial %s, label \"%s\"\n", place.slot, place.serial, place.label);
  return true;
}

int tok_verb_init(int argc, char **argv)
{
  static struct arguments args = {.common = TOK_ARGS_NEW};
  static const struct argp argp = {
      .options = options,
      .parser = parse,
      .doc =
          "Makes a new token and prints its slot and serial number. With --so-pin '' and without --pin the token is "
          "left "
          "without a PIN, and NSS (Firefox, certutil) sets the first one. With --token, --serial or --slot and --force "
          "an "
          "old token is made new: its objects and PINs are gone, its serial number stays; the security officer's PIN "
          "is needed.",
  };
  char settings[64];
  if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0) return TOK_COULD_NOT;
  int n = snprintf(settings, sizeof settings, "spare-slot=always");
  if (args.removable) n += snprintf(settings + n, sizeof settings - (size_t)n, " removable=on");
  if (args.cost != 0) snprintf(settings + n, sizeof settings - (size_t)n, " kdf-cost=%lu", args.cost);
  bool good = tok_start(&args.common, settings);
  if (good) {
    good = make(&args);
    tok_stop();
  }
  tok_args_clear(&args.common);
  return good ? TOK_FINE : TOK_COULD_NOT;
}
