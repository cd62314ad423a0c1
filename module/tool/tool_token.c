/* From the arguments to an open session on the token that they mean. */
#include "tool/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"

error_t tok_option(struct tok_args *args, int key, char *arg, const struct argp_state *state)
{
  bool good = true;
  char *end;
  switch (key) {
    case TOK_OPT_DIR: args->dir = arg; break;
    case TOK_OPT_TOKEN: args->label = arg; break;
    case TOK_OPT_SERIAL: args->serial = arg; break;
    case TOK_OPT_SLOT:
      errno = 0;
      args->slot = strtoul(arg, &end, 0);
      args->has_slot = true;
      if (errno != 0 || end == arg || *end != '\0')
        tok_misuse(state, "not a number", arg, "p11token list shows the slots");
      break;
    case TOK_OPT_FORCE: args->force = true; break;
    case TOK_OPT_PIN: good = tok_secret_argument(&args->pin, arg); break;
    case TOK_OPT_PIN_FILE: good = tok_secret_file(&args->pin, arg); break;
    case TOK_OPT_SO_PIN: good = tok_secret_argument(&args->so_pin, arg); break;
    case TOK_OPT_SO_PIN_FILE: good = tok_secret_file(&args->so_pin, arg); break;
    case TOK_OPT_NEW_PIN: good = tok_secret_argument(&args->new_pin, arg); break;
    case TOK_OPT_NEW_PIN_FILE: good = tok_secret_file(&args->new_pin, arg); break;
    case TOK_OPT_FILE_PIN: good = tok_secret_argument(&args->file_pin, arg); break;
    case TOK_OPT_FILE_PIN_FILE: good = tok_secret_file(&args->file_pin, arg); break;
    default: return ARGP_ERR_UNKNOWN;
  }
  if (!good) exit(TOK_COULD_NOT);
  return 0;
}

void tok_args_clear(struct tok_args *args)
{
  tok_secret_clear(&args->pin);
  tok_secret_clear(&args->so_pin);
  tok_secret_clear(&args->new_pin);
  tok_secret_clear(&args->file_pin);
}

bool tok_start(const struct tok_args *args, const char *settings)
{
  char string[256];
  snprintf(string, sizeof string, "%s", settings != NULL ? settings : "spare-slot=never");
  /* Not by the parameter string: its grammar has its own idea of blanks and quotes in a path. */
  if (args->dir != NULL && setenv("P11TOKEN_DIR", args->dir, 1) != 0) {
    return tok_fail("cannot use", args->dir, "%s", strerror(errno));
  }
  CK_NSS_C_INITIALIZE_ARGS init = {.flags = CKF_OS_LOCKING_OK, .LibraryParameters = (CK_CHAR_PTR *)string};
  CK_RV rv = C_Initialize(&init);
  if (rv == CKR_ARGUMENTS_BAD || rv == CKR_GENERAL_ERROR) {
    return tok_fail("cannot start", "settings", "correct what the line above names");
  }
  return rv == CKR_OK || tok_fail_rv("cannot start", "C_Initialize", rv);
}

void tok_stop(void)
{
  C_Finalize(NULL);
}

bool tok_slots(CK_SLOT_ID **slots, CK_ULONG *count)
{
  CK_RV rv = C_GetSlotList(CK_TRUE, NULL, count);
  *slots = rv == CKR_OK ? tok_alloc((*count + 1) * sizeof **slots) : NULL;
  if (rv == CKR_OK) rv = *slots != NULL ? C_GetSlotList(CK_TRUE, *slots, count) : CKR_HOST_MEMORY;
  if (rv == CKR_OK) return true;
  free(*slots);
  return tok_fail_rv("cannot list the tokens", "C_GetSlotList", rv);
}

/* Blank padded text of the module as a string. */
static void unpad(char *out, const CK_UTF8CHAR *text, size_t size)
{
  while (size > 0 && text[size - 1] == ' ') size--;
  memcpy(out, text, size);
  out[size] = '\0';
}

CK_RV tok_look(CK_SLOT_ID slot, struct tok_place *place)
{
  *place = (struct tok_place){.slot = slot};
  CK_RV rv = C_GetTokenInfo(slot, &place->info);
  if (rv != CKR_OK) return rv;
  unpad(place->label, place->info.label, sizeof place->info.label);
  unpad(place->serial, place->info.serialNumber, sizeof place->info.serialNumber);
  return CKR_OK;
}

static bool meant(const struct tok_args *args, const struct tok_place *place)
{
  return (place->info.flags & CKF_TOKEN_INITIALIZED) != 0 &&
         (args->label == NULL || strcmp(args->label, place->label) == 0) &&
         (args->serial == NULL || strcmp(args->serial, place->serial) == 0) &&
         (!args->has_slot || args->slot == place->slot);
}

/* Says which tokens there are, for the two messages below. */
static void name_tokens(const CK_SLOT_ID *slots, CK_ULONG count, const struct tok_args *args, char *text, size_t size)
{
  struct tok_place place;
  size_t at = 0;
  text[0] = '\0';
  for (CK_ULONG i = 0; i < count && at < size; i++) {
    if (tok_look(slots[i], &place) != CKR_OK || !meant(args, &place)) continue;
    at += (size_t)snprintf(text + at, size - at, "%s%s (serial %s)", at > 0 ? ", " : "", place.label, place.serial);
  }
}

bool tok_choose(const struct tok_args *args, struct tok_place *place)
{
  CK_SLOT_ID *slots;
  CK_ULONG count;
  size_t found = 0;
  char names[512];
  if (!tok_slots(&slots, &count)) return false;
  CK_RV broken = CKR_OK;
  for (CK_ULONG i = 0; i < count; i++) {
    struct tok_place candidate;
    CK_RV rv = tok_look(slots[i], &candidate);
    if (rv != CKR_OK && args->has_slot && args->slot == slots[i]) broken = rv;
    if (rv != CKR_OK || !meant(args, &candidate)) continue;
    if (found++ == 0) *place = candidate;
  }
  char number[24];
  snprintf(number, sizeof number, "slot %lu", args->slot);
  const char *asked = args->label != NULL ? args->label : args->serial != NULL ? args->serial : number;
  bool any = args->label != NULL || args->serial != NULL || args->has_slot;
  if (broken != CKR_OK) {
    tok_fail_rv("cannot use the token", number, broken);
  } else if (found == 0 && tok_fitting(args, TOK_OUT, &(struct tok_slot *){NULL}) > 0) {
    tok_fail("the token is removed", any ? asked : "token folder", "put it back with p11token insert");
  } else if (found == 0 && any) {
    name_tokens(slots, count, &(struct tok_args){.label = NULL}, names, sizeof names);
    tok_fail("no such token", asked, "%s%s", names[0] != '\0' ? "there are: " : "there is no token at all", names);
  } else if (found == 0) {
    tok_fail("no token", args->dir != NULL ? args->dir : "token folder", "make one with p11token init --label NAME");
  } else if (found > 1) {
    name_tokens(slots, count, args, names, sizeof names);
    tok_fail("more than one token", any ? asked : "token folder", "choose with --token, --serial or --slot: %s", names);
  }
  free(slots);
  return found == 1;
}

bool tok_open(struct tok_place *place, bool rw)
{
  CK_RV rv = C_OpenSession(place->slot, CKF_SERIAL_SESSION | (rw ? CKF_RW_SESSION : 0), NULL, NULL, &place->session);
  return rv == CKR_OK || tok_fail_rv("cannot open the token", place->label, rv);
}

bool tok_log_in(struct tok_place *place, CK_USER_TYPE user, struct tok_secret *pin)
{
  if (!tok_secret_need(pin, user == CKU_SO ? "so-pin" : "pin", false)) return false;
  CK_RV rv = C_Login(place->session, user, (CK_UTF8CHAR_PTR)pin->bytes, pin->len);
  /* An SO who is locked out stays so, and nobody sets his PIN anew. */
  if (rv == CKR_PIN_LOCKED && user == CKU_SO) {
    return tok_fail("cannot log in as security officer", place->label,
                    "the PIN is locked for ever after too many wrong ones");
  }
  return rv == CKR_OK ||
         tok_fail_rv(user == CKU_SO ? "cannot log in as security officer" : "cannot log in", place->label, rv);
}

bool tok_pin_fits(const struct tok_place *place, const struct tok_secret *pin)
{
  if (pin->len >= place->info.ulMinPinLen && pin->len <= place->info.ulMaxPinLen) return true;
  return tok_fail("not a good length", pin->name, "give %lu to %lu bytes", place->info.ulMinPinLen,
                  place->info.ulMaxPinLen);
}
