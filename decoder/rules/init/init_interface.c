/* Function lists and interfaces: how they are handed out, and whether they hold what their version promises. */
#include <inttypes.h>
#include <string.h>

#include "decoder/rules/rules.h"

/* --- NSS-INIT-01 -------------------------------------------------------------------------------------------------- */

struct asked {
  struct note in_vain; /* the last request with flags that failed */
};
static const struct kept_type asked_type = {sizeof(struct asked), NULL};

static bool is_text(const struct value *v, const char *text)
{
  const size_t n = strlen(text);
  return (v->what == VALUE_BYTES || v->what == VALUE_INTERFACE) && v->kept == n && !memcmp(v->bytes, text, n);
}

static void interface_given(struct check *check, const struct call *call, uint64_t flags)
{
  const struct value *face = &call->arg[2].out;
  const struct finding_options whole = {.no_slot = true};
  struct finding *f = NULL;
  char text[100];
  if (face->what != VALUE_INTERFACE) return;
  if (!is_text(face, "PKCS 11"))
    f = finding_report_as(check, &whole, SEVERITY_ERROR, 2,
                          "C_GetInterface is asked for \"PKCS 11\" and returns the interface \"%s\"",
                          show_bytes(face->bytes, face->kept, text, sizeof text));
  else if ((face->length & flags) != flags)
    f = finding_report_as(check, &whole, SEVERITY_ERROR, 3,
                          "C_GetInterface is asked for flags 0x%" PRIx64
                          " and returns an interface with flags 0x%" PRIx64,
                          flags, face->length);
  else if (!face->number)
    f = finding_report_as(check, &whole, SEVERITY_ERROR, 4,
                          "C_GetInterface returns an interface without function list");
  finding_call(f, check, NULL);
  finding_hint_proxy(f, check);
}

/* The standard, C_GetInterface: "If pVersion is NULL_PTR, the cryptoki library can return an interface of any version
 * [...]. If flags is 0, the cryptoki library can return an interface with any flags": there is always one to return.
 * NSS (pk11load.c, secmod_LoadPKCS11Module) asks with CKF_INTERFACE_FORK_SAFE and then with 0; it does not fall back to
 * C_GetFunctionList when the symbol exists. Other names (the FIPS interface) may be refused. */
void rule_init_01(struct check *check, const struct call *call)
{
  uint64_t flags;
  char unknown[24];
  if (!is_text(&call->arg[0].in, "PKCS 11") || !pick_is_null(call, 1) || pick_is_null(call, 2)) return;
  if (!pick_in(call, 3, &flags)) return;
  if (call->rv == CKR_OK) {
    interface_given(check, call, flags);
    return;
  }
  struct asked *asked = kept_make(&check->place.module->kept, &asked_type);
  if (flags) {
    model_note(&check->place, &asked->in_vain, call);
    return;
  }
  const struct finding_options whole = {.no_slot = true};
  struct finding *f = finding_report_as(
      check, &whole, SEVERITY_ERROR, 1,
      "C_GetInterface(\"PKCS 11\", NULL, flags 0) fails with %s: NSS gives the module up", note_rv(call->rv, unknown));
  finding_note(f, &asked->in_vain, "the same with flags");
  finding_call(f, check, NULL);
  finding_hint_proxy(f, check);
}

/* --- NSS-INIT-02 -------------------------------------------------------------------------------------------------- */

struct newest {
  struct note given; /* the C_GetInterface that handed out the newest list */
  unsigned version;
};
static const struct kept_type newest_type = {sizeof(struct newest), NULL};

static void remember_interface(struct check *check, const struct call *call)
{
  const struct value *face = &call->arg[2].out;
  if (call->rv != CKR_OK || face->what != VALUE_INTERFACE || !is_text(face, "PKCS 11")) return;
  struct newest *newest = kept_make(&check->place.module->kept, &newest_type);
  if (face->number <= newest->version) return;
  newest->version = (unsigned)face->number;
  model_note(&check->place, &newest->given, call);
}

/* What the slot says of the mechanism that the call begins with: TRI_UNKNOWN when that is not in the trace. */
static enum model_tri promised(const struct check *check, const struct call *call, uint64_t flag)
{
  const int i = pick_kind(call, P11_K_MECHANISM);
  const struct value *m = i < 0 ? NULL : &call->arg[i].in;
  if (!check->place.slot || !m || m->what != VALUE_MECHANISM) return TRI_UNKNOWN;
  const struct model_mechanism *known = model_mechanism(check->place.slot, m->number);
  if (!known || !known->known) return TRI_UNKNOWN;
  return known->flags & flag ? TRI_YES : TRI_NO;
}

static bool says_nothing(uint64_t rv)
{
  /* NSS begins a message operation without a parameter: that of each message comes later. */
  return rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED || rv == CKR_MECHANISM_PARAM_INVALID ||
         rv >= CKR_VENDOR_DEFINED;
}

/* FAQ, Q8: "You should have implementations for all the functions specified in the version of the PKCS #11 spec your
 * token implements." NSS looks at the version of the list (PK11_CheckPKCS11Version): from 3.2 on it verifies with
 * C_VerifySignature* and has no other way (pk11obj.c, PK11_VerifyWithMechanism); from 3.0 on it begins with
 * C_Message*Init where the mechanism has the flag, and falls back on CKR_FUNCTION_NOT_SUPPORTED and
 * CKR_MECHANISM_INVALID alone (pk11cxt.c, pk11_contextInitMessage). A slot that does not list a mechanism for
 * encapsulation need not have it. */
void rule_init_02(struct check *check, const struct call *call)
{
  const struct newest *newest = kept_get(check->place.module->kept, &newest_type);
  bool bad;
  char unknown[24];
  switch (call->known) {
    case P11_F_C_GetInterface: remember_interface(check, call); return;
    case P11_F_C_MessageEncryptInit:
      bad = says_nothing(call->rv) && promised(check, call, CKF_MESSAGE_ENCRYPT) == TRI_YES;
      break;
    case P11_F_C_MessageDecryptInit:
      bad = says_nothing(call->rv) && promised(check, call, CKF_MESSAGE_DECRYPT) == TRI_YES;
      break;
    case P11_F_C_EncapsulateKey:
      bad = call->rv == CKR_FUNCTION_NOT_SUPPORTED && promised(check, call, CKF_ENCAPSULATE) == TRI_YES;
      break;
    case P11_F_C_DecapsulateKey:
      bad = call->rv == CKR_FUNCTION_NOT_SUPPORTED && promised(check, call, CKF_DECAPSULATE) == TRI_YES;
      break;
    default: bad = call->rv == CKR_FUNCTION_NOT_SUPPORTED && promised(check, call, CKF_VERIFY) != TRI_NO;
  }
  if (!bad || (check->place.slot && model_removal(check->place.slot, call))) return;
  struct finding *f = finding_report(
      check, SEVERITY_ERROR, (uint64_t)call->known, "the function list says version %u.%u, and %s fails with %s",
      newest ? newest->version >> 8 : call->info->since >> 8, newest ? newest->version & 255 : call->info->since & 255,
      call->info->name, note_rv(call->rv, unknown));
  if (newest) finding_note(f, &newest->given, NULL);
  finding_call(f, check, NULL);
  finding_hint_proxy(f, check);
}
