/* Secrets stay in the token, and what says so does not weaken. */
#include <inttypes.h>

#include "decoder/rules/obj/obj_help.h"

#define UNAVAILABLE UINT64_MAX
#define UNKNOWN 2 /* of a CK_BBOOL */

/* What a template says of a CK_BBOOL, else what is known of the object. */
static uint64_t truth(const struct value *template, const struct model_object *o, uint64_t type)
{
  uint64_t n;
  if (pick_attribute_number(template, type, &n)) return n != 0;
  n = model_number(o, type, UNKNOWN);
  return n == UNKNOWN ? UNKNOWN : n != 0;
}

/* --- P11-OBJ-06 --------------------------------------------------------------------------------- */

static bool is_secret(uint64_t type)
{
  switch (type) {
    case CKA_VALUE:
    case CKA_PRIVATE_EXPONENT:
    case CKA_PRIME_1:
    case CKA_PRIME_2:
    case CKA_EXPONENT_1:
    case CKA_EXPONENT_2:
    case CKA_COEFFICIENT:
    case CKA_SEED: return true;
    default: return false;
  }
}

static void wrapped(struct check *check, const struct call *call)
{
  uint64_t handle;
  const int out = pick_kind(call, P11_K_OUT_BYTES);
  if (call->rv != CKR_OK || out < 0 || pick_is_null(call, (unsigned)out) || !pick_in(call, 3, &handle)) return;
  const struct model_object *o = table_get(&check->place.module->objects, handle);
  if (model_number(o, CKA_EXTRACTABLE, UNKNOWN) != CK_FALSE) return;
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 1, "a key whose CKA_EXTRACTABLE is false leaves the token wrapped");
  finding_note(f, o->made.number ? &o->made : &o->listed, "0x%" PRIx64, handle);
  finding_call(f, check, "hKey is 0x%" PRIx64, handle);
}

/* The standard, private key objects: "If the CKA_SENSITIVE attribute is CK_TRUE, or if the CKA_EXTRACTABLE attribute is
 * CK_FALSE, then certain attributes of the private key cannot be revealed in plaintext outside the token." FAQ, Q21: "NSS will
 * never try to pull private keys out of tokens (except as wrapped objects for PKCS #12)." */
void rule_obj_06(struct check *check, const struct call *call)
{
  if (call->known != P11_F_C_GetAttributeValue) {
    wrapped(check, call);
    return;
  }
  const struct model_object *o = check->place.object;
  const struct value *before = &call->arg[2].in, *after = obj_answer(call);
  char name[32];
  if (!after) return;
  uint64_t class = o ? o->facts.class : MODEL_NO_CLASS;
  for (size_t i = 0; i < after->count; i++) {
    const struct value *a = &after->item[i];
    if (!is_secret(a->number) || a->length == UNAVAILABLE || !a->length) continue;
    pick_attribute_number(after, CKA_CLASS, &class);
    if (class != CKO_PRIVATE_KEY && class != CKO_SECRET_KEY) return;
    const bool sensitive = truth(after, o, CKA_SENSITIVE) == CK_TRUE;
    if (!sensitive && truth(after, o, CKA_EXTRACTABLE) != CK_FALSE) return;
    /* A buffer that is too small shows nothing. */
    const bool null = before->item[i].pointer == P11T_P_NULL;
    if (!null && a->length > before->item[i].length) continue;
    struct finding *f =
        finding_report(check, null ? SEVERITY_WARNING : SEVERITY_ERROR, a->number << 1 | null,
                       null ? "the length of %s of a key that %s is given out" : "%s of a key that %s is given out",
                       model_attribute_name(a->number, name), sensitive ? "is sensitive" : "cannot be extracted");
    if (o) finding_note(f, o->made.number ? &o->made : &o->listed, "0x%" PRIx64, o->handle);
    finding_call(f, check, "%s: %" PRIu64 " bytes", model_attribute_name(a->number, name), a->length);
  }
}

/* --- P11-OBJ-07 --------------------------------------------------------------------------------- */

/* "Attribute cannot be changed once set to": CKA_SENSITIVE is for ever true, CKA_EXTRACTABLE for ever false ... */
static const struct {
  uint64_t type, final;
} one_way[] = {
    {CKA_SENSITIVE,         CK_TRUE },
    {CKA_EXTRACTABLE,       CK_FALSE},
    {CKA_WRAP_WITH_TRUSTED, CK_TRUE },
    {CKA_COPYABLE,          CK_FALSE}
};

static void note_object(struct finding *f, const struct model_object *o)
{
  finding_note(f, o->made.number ? &o->made : o->listed.number ? &o->listed : &o->found, "0x%" PRIx64, o->handle);
}

static void weakened(struct check *check, const struct model_object *o, const struct value *template, const char *how,
                     unsigned key)
{
  for (size_t i = 0; i < sizeof one_way / sizeof *one_way; i++) {
    uint64_t now;
    if (!pick_attribute_number(template, one_way[i].type, &now) || now == one_way[i].final ||
        model_number(o, one_way[i].type, UNKNOWN) != one_way[i].final)
      continue;
    char name[32];
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, one_way[i].type << 3 | key, "%s of an object %s: it was %s",
                       model_attribute_name(one_way[i].type, name), how, one_way[i].final ? "true" : "false");
    note_object(f, o);
    finding_call(f, check, "%s: %s", model_attribute_name(one_way[i].type, name), now ? "true" : "false");
  }
}

static void says_what_cannot_be(struct check *check, const struct model_object *o, uint64_t type, const char *why)
{
  char name[32];
  struct finding *f = finding_report(check, SEVERITY_ERROR, type << 3 | 4, "%s is true of a key that %s",
                                     model_attribute_name(type, name), why);
  note_object(f, o);
  finding_call(f, check, "%s: true", model_attribute_name(type, name));
}

/* Where a key comes from, against what it says of itself. */
static void origin(struct check *check, const struct model_object *o, const struct value *after)
{
  const int made = o->made.number ? o->made.known : -1;
  const bool given = made == P11_F_C_CreateObject || made == P11_F_C_UnwrapKey;
  const bool generated = made == P11_F_C_GenerateKey || made == P11_F_C_GenerateKeyPair;
  uint64_t local, always, never;
  if (pick_attribute_number(after, CKA_LOCAL, &local) && made >= 0) {
    if (local && (given || made == P11_F_C_DeriveKey)) {
      says_what_cannot_be(check, o, CKA_LOCAL, "was not generated on the token");
    } else if (!local && generated) {
      struct finding *f =
          finding_report(check, SEVERITY_ERROR, 1, "CKA_LOCAL is false of a key that was generated on the token");
      note_object(f, o);
      finding_call(f, check, NULL);
    }
  }
  if (pick_attribute_number(after, CKA_ALWAYS_SENSITIVE, &always) && always) {
    if (given)
      says_what_cannot_be(check, o, CKA_ALWAYS_SENSITIVE, "came from outside");
    else if (truth(after, o, CKA_SENSITIVE) == CK_FALSE)
      says_what_cannot_be(check, o, CKA_ALWAYS_SENSITIVE, "is not sensitive");
  }
  if (pick_attribute_number(after, CKA_NEVER_EXTRACTABLE, &never) && never) {
    if (given)
      says_what_cannot_be(check, o, CKA_NEVER_EXTRACTABLE, "came from outside");
    else if (truth(after, o, CKA_EXTRACTABLE) == CK_TRUE)
      says_what_cannot_be(check, o, CKA_NEVER_EXTRACTABLE, "can be extracted");
  }
}

static void not_allowed(struct check *check, const struct model_object *o, uint64_t type, const char *what)
{
  char name[32];
  if (model_number(o, type, UNKNOWN) != CK_FALSE) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, type << 3 | 5, "an object whose %s is false can be %s",
                                     model_attribute_name(type, name), what);
  note_object(f, o);
  finding_call(f, check, NULL);
}

/* The standard, footnotes of the attributes: CKA_SENSITIVE "cannot be changed once set to CK_TRUE", CKA_EXTRACTABLE "cannot be
 * changed once set to CK_FALSE"; CKA_COPYABLE "Can't be set to TRUE once it is set to FALSE"; C_CreateObject: the key "will
 * have its CKA_LOCAL attribute set to CK_FALSE" and CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE too. */
void rule_obj_07(struct check *check, const struct call *call)
{
  const struct model_object *o = check->place.object;
  if (!o || (o->made.number && o->made.end_number > call->number)) return;
  switch (call->known) {
    case P11_F_C_SetAttributeValue:
      if (call->rv == CKR_OK) weakened(check, o, pick_template(call), "can be changed", 1);
      break;
    case P11_F_C_CopyObject:
      if (call->rv != CKR_OK) break;
      not_allowed(check, o, CKA_COPYABLE, "copied");
      weakened(check, o, pick_template(call), "can be changed in a copy", 2);
      break;
    case P11_F_C_DestroyObject:
      if (call->rv == CKR_OK) not_allowed(check, o, CKA_DESTROYABLE, "destroyed");
      break;
    default:
      if (!obj_answer(call) || !model_objects_still(check->place.module, call->number)) break;
      weakened(check, o, obj_answer(call), "has changed", 3);
      if (o->facts.class == CKO_PRIVATE_KEY || o->facts.class == CKO_SECRET_KEY) origin(check, o, obj_answer(call));
  }
}
