/* Do mechanisms do what the slot says they do? */
#include "decoder/rules/mech/mech_help.h"

/* Does the code say that the slot does not have the mechanism for that? A key of another type may be the caller's
 * mistake. */
static bool denies(const struct check *check, const struct call *call, uint64_t type)
{
  if (call->rv == CKR_MECHANISM_INVALID) return true;
  /* Of a function that makes an object it may be about the object: NSS-SESS-11. */
  if (call->rv == CKR_FUNCTION_NOT_SUPPORTED) return model_step_of(call->known) == STEP_INIT;
  if (call->rv != CKR_KEY_TYPE_INCONSISTENT) return false;
  const uint64_t wanted = mech_key_type(type);
  return wanted != CK_UNAVAILABLE_INFORMATION &&
         model_number(mech_key(check, call), CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION) == wanted;
}

/* Is that what a slot must have the mechanism for, if it lists it at all? RSA may be there for signatures only, and
 * ciphers need not wrap keys. */
static bool is_its_use(uint64_t type, uint64_t flag)
{
  if (type == CKM_RSA_PKCS || type == CKM_RSA_X_509) return flag == CKF_SIGN;
  return flag & (CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN | CKF_VERIFY | CKF_GENERATE | CKF_GENERATE_KEY_PAIR);
}

/* FAQ, Q15: "NSS uses the first slot it finds that can perform all the required operations"; it goes by the list alone
 * (pk11slot.c, PK11_DoesMechanism) and tries no other slot for a key. What flags do not promise a slot need not do. PSS
 * is NSS-MECH-04's. */
void rule_mech_02(struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  uint64_t type;
  char name[24], code[24];
  if (call->rv == CKR_OK || !slot || !mech_given(call, &type) || !denies(check, call, type)) return;
  if (mech_is_pss(type) || model_removal(slot, call) || mech_restricted(mech_key(check, call))) return;
  const struct model_mechanism *m = model_mechanism(slot, type);
  const uint64_t flag = mech_flag(call->known);
  if (!m || !m->listed || (m->known && !m->flags)) return; /* no flags at all: NSS-MECH-03 */
  if (!m->known && !is_its_use(type, flag)) return;
  const bool promised = m->known && m->flags & flag;
  const struct finding_options o = {.fault = m->known && !promised ? FAULT_CALLER : 0};
  struct finding *f =
      finding_report_as(check, &o,
                        promised   ? SEVERITY_ERROR
                        : m->known ? SEVERITY_INFO
                                   : SEVERITY_WARNING,
                        type,
                        promised   ? "%s is listed, and %s with it fails with %s"
                        : m->known ? "%s is not for %s, which fails with %s"
                                   : "%s is listed (what for, was not asked), and %s with it fails with %s",
                        mech_name(type, name), p11_functions[call->known].name, note_rv(call->rv, code));
  if (m->known)
    finding_note(f, &m->note, promised ? "it has %s" : "it lacks %s", mech_flag_name(flag));
  else
    finding_note(f, &m->note, NULL);
  finding_call(f, check, NULL);
}

/* --- flags ---------------------------------------------------------------------------------------- */

/* The mechanisms whose flags NSS makes templates of: pk11akey.c, PK11_GenerateKeyPairWithOpFlags. */
static bool asked_for_templates(uint64_t type)
{
  return type == CKM_RSA_PKCS || type == CKM_DSA || type == CKM_ECDSA || type == CKM_ECDH1_DERIVE ||
         type == CKM_DH_PKCS_DERIVE;
}

static void info_call(struct check *check, const struct call *call)
{
  const struct value *flags = pick_member(call, 2, P11_S_CK_MECHANISM_INFO, offsetof(CK_MECHANISM_INFO, flags));
  uint64_t type;
  char name[24], code[24];
  if (!pick_in(call, 1, &type) || !asked_for_templates(type)) return;
  const struct model_mechanism *m = model_mechanism(check->place.slot, type);
  /* CKR_MECHANISM_INVALID is NSS-MECH-01's if it is listed, and right if it is not. */
  if (call->rv != CKR_OK && call->rv != CKR_MECHANISM_INVALID && !mech_elsewhere(call->rv) && m && m->listed) {
    struct finding *f = finding_report(check, SEVERITY_WARNING, type, "C_GetMechanismInfo fails with %s for %s",
                                       note_rv(call->rv, code), mech_name(type, name));
    finding_call(f, check, NULL);
  }
  if (call->rv != CKR_OK || !flags || flags->number & ~(uint64_t)CKF_HW) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, 1ull << 62, "C_GetMechanismInfo gives no flags for %s",
                                     mech_name(type, name));
  finding_call(f, check, NULL);
}

/* What works although the flags do not say so. */
static void begun(struct check *check, const struct call *call, const struct model_mechanism *m, uint64_t flag)
{
  char name[24];
  if (!flag || m->flags & flag || !(m->flags & ~(uint64_t)CKF_HW)) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, m->type + (flag << 32),
                                     "%s works with %s, and C_GetMechanismInfo does not say so (%s)",
                                     mech_name(m->type, name), p11_functions[call->known].name, mech_flag_name(flag));
  finding_note(f, &m->note, NULL);
  finding_call(f, check, NULL);
}

/* The mechanism that keys of such a pair are for, as NSS sees it. */
static uint64_t use_of(uint64_t generation)
{
  switch (generation) {
    case CKM_RSA_PKCS_KEY_PAIR_GEN: return CKM_RSA_PKCS;
    case CKM_DSA_KEY_PAIR_GEN: return CKM_DSA;
    case CKM_EC_KEY_PAIR_GEN: return CKM_ECDSA;
    case CKM_DH_PKCS_KEY_PAIR_GEN: return CKM_DH_PKCS_DERIVE;
    default: return CK_UNAVAILABLE_INFORMATION;
  }
}

static void template_refused(struct check *check, const struct call *call, uint64_t generation)
{
  static const struct {
    uint64_t attribute, flag;
  } use[] = {
      {CKA_SIGN,         CKF_SIGN        },
      {CKA_SIGN_RECOVER, CKF_SIGN_RECOVER},
      {CKA_DECRYPT,      CKF_DECRYPT     },
      {CKA_UNWRAP,       CKF_UNWRAP      },
      {CKA_DERIVE,       CKF_DERIVE      },
  };
  const struct model_mechanism *m = model_mechanism(check->place.slot, use_of(generation));
  char name[24], code[24];
  uint64_t asked, promised = 0, wanted = 0;
  if (!check->place.module->nss || !m || !m->known) return;
  for (size_t i = 0; i < sizeof use / sizeof *use; i++)
    if (pick_attribute_number(&call->arg[4].in, use[i].attribute, &asked) && asked) {
      wanted++;
      promised += (m->flags & use[i].flag) != 0;
    }
  if (!wanted || wanted != promised) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, m->type + (1ull << 63),
                                     "C_GenerateKeyPair refuses the attributes that the flags of %s promise (%s)",
                                     mech_name(m->type, name), note_rv(call->rv, code));
  finding_note(f, &m->note, NULL);
  finding_call(f, check, NULL);
}

/* The standard, CK_MECHANISM_INFO: CKF_SIGN, "True if the mechanism can be used with C_SignInit". NSS makes CKA_SIGN,
 * CKA_DECRYPT, CKA_UNWRAP ... of a new key from these flags, and guesses where there are none. */
void rule_mech_03(struct check *check, const struct call *call)
{
  uint64_t type;
  const struct model_slot *slot = check->place.slot;
  if (!slot || model_removal(slot, call)) return;
  if (call->known == P11_F_C_GetMechanismInfo) {
    info_call(check, call);
    return;
  }
  if (!mech_given(call, &type)) return;
  if (call->rv == CKR_OK) {
    const struct model_mechanism *m = asked_for_templates(type) ? model_mechanism(slot, type) : NULL;
    if (m && m->known) begun(check, call, m, mech_flag(call->known));
  } else if (call->known == P11_F_C_GenerateKeyPair &&
             (call->rv == CKR_TEMPLATE_INCONSISTENT || call->rv == CKR_ATTRIBUTE_TYPE_INVALID)) {
    template_refused(check, call, type);
  }
}
