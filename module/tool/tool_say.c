/* What p11token says when it could not: what happened, where, and what to do about it. */
#include "tool/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "spec.h"

bool tok_fail(const char *what, const char *where, const char *todo, ...)
{
  va_list args;
  va_start(args, todo);
  fflush(stdout);
  fprintf(stderr, "p11token: %s: %s: ", what, where);
  vfprintf(stderr, todo, args);
  fputc('\n', stderr);
  va_end(args);
  return false;
}

/* Codes that a user can do something about. */
/* clang-format off */
static const struct {
  CK_RV rv;
  const char *todo;
} advice[] = {
  {CKR_PIN_INCORRECT,          "the PIN is wrong; p11token list tells how many tries are left"},
  {CKR_PIN_LOCKED,             "it is locked after too many wrong PINs; p11token pin --unlock sets a new user PIN"},
  {CKR_PIN_LEN_RANGE,          "the PIN is too short or too long"},
  {CKR_PIN_INVALID,            "the PIN has bytes that the token does not take"},
  {CKR_PIN_EXPIRED,            "the PIN must be changed first: p11token pin"},
  {CKR_USER_PIN_NOT_INITIALIZED, "the token has no user PIN yet; p11token pin --unlock sets one"},
  {CKR_USER_NOT_LOGGED_IN,     "the user's PIN is needed: give --pin-file, or --login to be asked for it"},
  {CKR_DEVICE_MEMORY,          "the disk is full"},
  {CKR_DEVICE_ERROR,           "the token file is damaged or cannot be read; put a backup in its place"},
  {CKR_DEVICE_REMOVED,         "the token was removed or initialised anew meanwhile; try again"},
  {CKR_TOKEN_WRITE_PROTECTED,  "the token file may not be written; look at its permissions"},
  {CKR_TOKEN_NOT_RECOGNIZED,   "the token file is of a newer version; use that version's p11token"},
  {CKR_HOST_MEMORY,            "there is not enough memory"},
  {CKR_KEY_UNEXTRACTABLE,      "the key was made not to leave the token"},
  {CKR_KEY_NOT_WRAPPABLE,      "the key may leave the token wrapped by a trusted key only"},
  {CKR_CURVE_NOT_SUPPORTED,    "the token does not know the key's curve"},
  {CKR_KEY_SIZE_RANGE,         "the token does not take keys of this size"},
  {CKR_ATTRIBUTE_VALUE_INVALID, "the token does not take it; is it whole and of a kind that the token knows?"},
};
/* clang-format on */

bool tok_fail_rv(const char *what, const char *where, CK_RV rv)
{
  for (size_t i = 0; i < sizeof advice / sizeof *advice; i++)
    if (advice[i].rv == rv) return tok_fail(what, where, "%s", advice[i].todo);
  const char *name = p11_constant_name(P11_DOM_CKR, rv);
  if (name != NULL) return tok_fail(what, where, "the module answers %s", name);
  return tok_fail(what, where, "the module answers code 0x%lx", rv);
}

void tok_misuse(const struct argp_state *state, const char *what, const char *where, const char *todo)
{
  tok_fail(what, where, "%s; see %s --help", todo, state->name);
  exit(TOK_COULD_NOT);
}
