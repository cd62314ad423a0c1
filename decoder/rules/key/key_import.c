/* Private keys that are made elsewhere. */
#include "decoder/rules/rules.h"

struct kind {
  uint64_t key, generates;
  const char *name;
  uint64_t part[9]; /* what a complete private key has; ends with 0 (CKA_CLASS, which all have) */
};

static const struct kind *kind_of(const struct value *template)
{
  static const struct kind kind[] = {
      {CKK_RSA,
       CKM_RSA_PKCS_KEY_PAIR_GEN,     "CKM_RSA_PKCS_KEY_PAIR_GEN",
       {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1,
        CKA_EXPONENT_2, CKA_COEFFICIENT}                                                                         },
      {CKK_EC,  CKM_EC_KEY_PAIR_GEN,  "CKM_EC_KEY_PAIR_GEN",       {CKA_EC_PARAMS, CKA_VALUE}                    },
      {CKK_DSA, CKM_DSA_KEY_PAIR_GEN, "CKM_DSA_KEY_PAIR_GEN",      {CKA_PRIME, CKA_SUBPRIME, CKA_BASE, CKA_VALUE}},
  };
  uint64_t type;
  if (!pick_attribute_number(template, CKA_KEY_TYPE, &type)) return NULL;
  for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
    if (kind[i].key != type) continue;
    for (size_t k = 0; kind[i].part[k]; k++)
      if (!pick_attribute(template, kind[i].part[k])) return NULL;
    return &kind[i];
  }
  return NULL;
}

static bool refuses(uint64_t rv)
{
  switch (rv) {
    case CKR_TEMPLATE_INCOMPLETE:
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_ACTION_PROHIBITED:
    case CKR_FUNCTION_NOT_SUPPORTED: return true;
    default: return false;
  }
}

/* FAQ, Q25: "If the token cannot do CKM_RSA_PKCS_GEN_KEYPAIR, NSS uses its software key generation code and writes
 * the private and public keys into the token using C_CreateObject. The RSA private key will contain all the
 * attributes specified by PKCS #11 version 2.0. This is also true for CKM_DSA". */
void rule_key_04(struct check *check, const struct call *call)
{
  const struct value *template = pick_template(call);
  const struct model_session *s = check->place.session;
  const struct model_slot *slot = check->place.slot;
  uint64_t class, token;
  char code[24];
  if (!slot || !s || !(s->flags & CKF_RW_SESSION) || !refuses(call->rv) || model_removal(slot, call)) return;
  if (!pick_attribute_number(template, CKA_CLASS, &class) || class != CKO_PRIVATE_KEY) return;
  if (!pick_attribute_number(template, CKA_TOKEN, &token) || !token) return;
  if (!slot->token.known || slot->token.flags & CKF_WRITE_PROTECTED) return;
  const struct kind *kind = kind_of(template);
  if (!kind || !slot->mechanisms_listed) return;
  const struct model_mechanism *m = model_mechanism(slot, kind->generates);
  if (m && m->listed) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, kind->key,
                                     "the token neither generates this kind of key (%s) nor lets it be stored: %s",
                                     kind->name, note_rv(call->rv, code));
  finding_note(f, &slot->token.note, "CKF_WRITE_PROTECTED is clear");
  finding_call(f, check, "a complete private key");
}
