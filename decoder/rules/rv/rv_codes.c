/* Return codes that a function does not have. */
#include <inttypes.h>

#include "decoder/rules/rules.h"

/* clang-format off */
#define ALLOWED(function, ...) static const uint32_t allowed_##function[] = {__VA_ARGS__};
#include "decoder/rules/rv/return_values.def"
#undef ALLOWED

static const struct {
  const uint32_t *code;
  unsigned count;
} allowed[P11_FUNCTIONS] = {
#define ALLOWED(function, ...) \
  [P11_F_##function] = {allowed_##function, sizeof allowed_##function / sizeof *allowed_##function},
#include "decoder/rules/rv/return_values.def"
#undef ALLOWED
};
/* clang-format on */

/* The standard, "Universal Cryptoki function return values" and "Unless otherwise noted": any function may return these. */
static bool universal(uint64_t rv)
{
  switch (rv) {
    case CKR_OK:
    case CKR_GENERAL_ERROR:
    case CKR_HOST_MEMORY:
    case CKR_FUNCTION_FAILED:
    case CKR_OPERATION_NOT_VALIDATED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_ARGUMENTS_BAD: return true;
    default: return false;
  }
}

static bool of_session(uint64_t rv)
{
  return rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED || rv == CKR_DEVICE_REMOVED;
}

static bool of_token(uint64_t rv)
{
  return rv == CKR_DEVICE_MEMORY || rv == CKR_DEVICE_ERROR || rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_DEVICE_REMOVED ||
         rv == CKR_TOKEN_NOT_INITIALIZED;
}

static bool unknown(uint64_t rv)
{
  return rv >= CKR_VENDOR_DEFINED || !p11_constant_name(P11_DOM_CKR, rv);
}

/* What the lists leave out and modules rightly say. */
static bool of_function(int function, uint64_t rv)
{
  switch (function) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser: return rv == CKR_PIN_EXPIRED || rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_INVALID;
    case P11_F_C_FindObjectsInit:
    case P11_F_C_FindObjects: return rv == CKR_USER_NOT_LOGGED_IN;
    default: return false;
  }
}

static bool listed(int function, uint64_t rv)
{
  for (unsigned i = 0; i < allowed[function].count; i++)
    if (allowed[function].code[i] == rv) return true;
  return false;
}

static void list(const struct call *call, char *text, size_t size)
{
  size_t used = 0;
  char code[24];
  text[0] = 0;
  for (unsigned i = 0; i < allowed[call->known].count; i++) {
    const uint64_t rv = allowed[call->known].code[i];
    if (rv != CKR_OK) note_append(text, size, &used, "%s%s", used ? ", " : "", note_rv(rv, code));
  }
}

/* The standard gives each function its codes: "Return values: CKR_..." (function_return_values.md). NSS looks at single codes
 * (pk11err.c, PK11_MapError): one that does not belong to the function becomes an error text that misleads. */
void rule_rv_01(struct check *check, const struct call *call)
{
  if (call->rv == CKR_OK && call->known != P11_F_C_GetFunctionStatus && call->known != P11_F_C_CancelFunction) return;
  if ((call->rv != CKR_OK && universal(call->rv)) || unknown(call->rv)) return; /* unknown ones are P11-RV-02's */
  if (!allowed[call->known].count || listed(call->known, call->rv) || of_function(call->known, call->rv)) return;
  const bool session = pick_kind(call, P11_K_SESSION) >= 0;
  if (session && of_session(call->rv)) return;
  if ((session || pick_kind(call, P11_K_SLOT) >= 0) && of_token(call->rv)) return;
  char code[24], others[400];
  const struct finding_options o = {.cause = CAUSE_CODE};
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, call->rv * P11_FUNCTIONS + (uint64_t)call->known,
                                        "%s answers %s, which is not a code of that function",
                                        p11_functions[call->known].name, note_rv(call->rv, code));
  if (!f) return;
  list(call, others, sizeof others);
  finding_call(f, check,
               *others ? "the standard lists, beside those that all functions have: %s"
                       : "the standard lists only codes that all functions have%s",
               others);
}

/* --- codes that say nothing ----------------------------------------------------------------------- */

static bool says_nothing(uint64_t rv)
{
  return rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED || rv == CKR_DEVICE_ERROR;
}

#define FEW 3 /* so many of a hundred calls are a habit, and fewer than that are bad luck */

struct counts {
  struct {
    uint32_t calls, vague;
    struct note first, last;
  } function[P11_FUNCTIONS];
};
static const struct kept_type counts_type = {sizeof(struct counts), NULL};

static void habits(struct check *check)
{
  struct counts *c = kept_get(check->place.module->kept, &counts_type);
  for (int i = 0; c && i < P11_FUNCTIONS; i++) {
    if (c->function[i].vague < FEW || c->function[i].vague * 100ull < c->function[i].calls) continue;
    char code[24];
    const struct finding_options o = {.no_slot = true};
    struct finding *f = finding_report_as(
        check, &o, SEVERITY_WARNING, (uint64_t)i, "%s fails with codes like %s in %" PRIu32 " of %" PRIu32 " calls",
        p11_functions[i].name, note_rv(c->function[i].last.rv, code), c->function[i].vague, c->function[i].calls);
    finding_note(f, &c->function[i].first, "the first");
    finding_note(f, &c->function[i].last, "the last");
  }
  kept_drop(&check->place.module->kept, &counts_type);
}

static void odd_code(struct check *check, const struct call *call)
{
  char code[24];
  const struct finding_options o = {.cause = CAUSE_CODE};
  struct finding *f = finding_report_as(
      check, &o, SEVERITY_WARNING, P11_FUNCTIONS + call->rv,
      unknown(call->rv) ? "%s fails with %s, which no caller knows" : "%s fails with %s, which says nothing",
      p11_functions[call->known].name, note_rv(call->rv, code));
  finding_call(f, check, NULL);
}

/* The standard, CKR_GENERAL_ERROR: "Some horrible, unrecoverable error has occurred"; CKR_FUNCTION_FAILED: "the requested
 * function could not be performed, but detailed information about why not is not available". For NSS a code that it does not
 * know is SEC_ERROR_UNKNOWN_PKCS11_ERROR (pk11err.c), and the user learns nothing. A card that was pulled is no fault. */
void rule_rv_02(struct check *check, const struct call *call)
{
  if (!call) {
    habits(check);
    return;
  }
  struct model_module *m = check->place.module;
  struct counts *c = kept_make(&m->kept, &counts_type);
  c->function[call->known].calls++;
  if (call->rv == CKR_OK || model_removal(check->place.slot, call)) return;
  if (unknown(call->rv)) {
    odd_code(check, call);
  } else if (says_nothing(call->rv)) {
    if (!c->function[call->known].vague++) model_note(&check->place, &c->function[call->known].first, call);
    model_note(&check->place, &c->function[call->known].last, call);
    if (call->known == P11_F_C_Sign) odd_code(check, call);
  }
}
