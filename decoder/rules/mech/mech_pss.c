/* RSA-PSS: TLS 1.3 has no other signature with RSA keys. */
#include "decoder/rules/mech/mech_help.h"

/* Of a session: the signature that is under way is one of PSS, as TLS makes it. */
struct pss {
  struct note begun;
};
static const struct kept_type pss_type = {sizeof(struct pss), NULL};
/* Of a slot. */
struct signs {
  bool said;         /* that it lists no PSS */
  struct note other; /* the last signature with another mechanism */
};
static const struct kept_type signs_type = {sizeof(struct signs), NULL};

enum { KEY_FAILS = 1, KEY_UNLISTED };

static bool member(const struct value *params, size_t offset, uint64_t *number)
{
  const struct p11_struct *info = p11_struct_info(P11_S_CK_RSA_PKCS_PSS_PARAMS);
  for (size_t i = 0; i < params->count; i++)
    if (info->field[params->item[i].member].offset == offset && params->item[i].what == VALUE_NUMBER) {
      *number = params->item[i].number;
      return true;
    }
  return false;
}

/* RFC 8446, 4.2.3: "The mask generation function is MGF1 with the same hash; the length of the salt MUST be equal to
 * the length of the output of the digest algorithm". NSS asks for nothing else (ssl3con.c, ssl3_SignHashes). */
static bool as_in_tls(const struct call *call)
{
  static const struct {
    uint64_t hash, mgf, salt;
  } known[] = {
      {CKM_SHA256, CKG_MGF1_SHA256, 32},
      {CKM_SHA384, CKG_MGF1_SHA384, 48},
      {CKM_SHA512, CKG_MGF1_SHA512, 64},
  };
  const struct value *v = &call->arg[1].in;
  uint64_t hash, mgf, salt;
  if (v->what != VALUE_MECHANISM || !mech_is_pss(v->number) || !v->count) return false;
  const struct value *params = &v->item[0];
  if (params->what != VALUE_STRUCT || params->structure != P11_S_CK_RSA_PKCS_PSS_PARAMS) return false;
  if (!member(params, offsetof(CK_RSA_PKCS_PSS_PARAMS, hashAlg), &hash) ||
      !member(params, offsetof(CK_RSA_PKCS_PSS_PARAMS, mgf), &mgf) ||
      !member(params, offsetof(CK_RSA_PKCS_PSS_PARAMS, sLen), &salt))
    return false;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].hash == hash && known[i].mgf == mgf && known[i].salt == salt) return true;
  return false;
}

/* May the key refuse, and be right? */
static bool may_refuse(const struct call *call, const struct model_object *key)
{
  if (mech_restricted(key)) return true;
  const uint64_t type = model_number(key, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  switch (call->rv) {
    case CKR_KEY_SIZE_RANGE: return true; /* too short for hash and salt */
    case CKR_KEY_TYPE_INCONSISTENT: return type != CKK_RSA;
    case CKR_KEY_FUNCTION_NOT_PERMITTED: return model_number(key, CKA_SIGN, 0) != 1;
    default: return false;
  }
}

/* Codes that say nothing are about PSS only where the token signs otherwise. */
static bool fails(uint64_t rv, const struct signs *signs)
{
  switch (rv) {
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_KEY_FUNCTION_NOT_PERMITTED: return true;
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_ARGUMENTS_BAD:
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
    case CKR_DEVICE_ERROR: return signs && signs->other.number;
    default: return false;
  }
}

static void failed(struct check *check, const struct call *call, uint64_t type, const struct note *begun)
{
  const struct model_mechanism *m = model_mechanism(check->place.slot, type);
  const struct signs *signs = kept_get(check->place.slot->kept, &signs_type);
  char name[24], code[24];
  if (!m || !m->listed || (m->known && !(m->flags & CKF_SIGN)) || !fails(call->rv, signs)) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, KEY_FAILS,
                                     "%s is listed, and %s with the parameters of TLS 1.3 fails with %s",
                                     mech_name(type, name), p11_functions[call->known].name, note_rv(call->rv, code));
  finding_note(f, &m->note, NULL);
  if (signs) finding_note(f, &signs->other, "with another mechanism it signs");
  if (begun) finding_note(f, begun, NULL);
  finding_call(f, check, NULL);
}

static void init(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  if (!as_in_tls(call)) {
    if (call->rv == CKR_OK && s) kept_drop(&s->kept, &pss_type);
    return;
  }
  if (call->rv == CKR_OK && s) {
    model_note(&check->place, &((struct pss *)kept_make(&s->kept, &pss_type))->begun, call);
  } else if (!may_refuse(call, mech_key(check, call))) {
    failed(check, call, call->arg[1].in.number, NULL);
  }
}

static void sign(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const struct pss *p = s ? kept_get(s->kept, &pss_type) : NULL;
  const bool is_pss = p && s->op[OP_SIGN].begun.number == p->begun.number;
  if (call->rv == CKR_OK && s && !is_pss && !model_asks_length(call) &&
      mech_key_type(s->op[OP_SIGN].mechanism) == CKK_RSA)
    model_note(&check->place, &((struct signs *)kept_make(&s->slot->kept, &signs_type))->other, call);
  if (call->rv == CKR_OK || !is_pss) return;
  if (s->op[OP_SIGN].state != OP_INIT || call->rv == CKR_ARGUMENTS_BAD || !model_alone(s, call)) return;
  const struct model_object *key = model_object(check->place.module, s->op[OP_SIGN].key);
  if (!may_refuse(call, key)) failed(check, call, s->op[OP_SIGN].mechanism, &p->begun);
}

/* A private RSA key of a token is used, or read, and the slot lists no PSS. */
static void unlisted(struct check *check, uint64_t class)
{
  struct model_slot *slot = check->place.slot;
  if (!slot->mechanisms_listed || class != CKO_PRIVATE_KEY) return;
  const struct model_mechanism *m = model_mechanism(slot, CKM_RSA_PKCS_PSS);
  const struct model_mechanism *rsa = model_mechanism(slot, CKM_RSA_PKCS);
  if (!rsa || !rsa->listed || (m && m->listed)) return;
  struct signs *signs = kept_make(&slot->kept, &signs_type);
  if (signs->said) return;
  signs->said = true;
  struct finding *f = finding_report(check, SEVERITY_INFO, KEY_UNLISTED,
                                     "RSA key without CKM_RSA_PKCS_PSS: TLS 1.3 client authentication is impossible");
  finding_note(f, &rsa->note, "CKM_RSA_PKCS is listed, and CKM_RSA_PKCS_PSS is not");
  finding_call(f, check, "a private key of type CKK_RSA");
}

static uint64_t class_of(const struct model_object *key)
{
  return key ? key->facts.class : MODEL_NO_CLASS;
}

/* FAQ, Q15: "NSS uses the first slot it finds that can perform all the required operations." For a private key that is
 * the key's own slot, and NSS offers in TLS what that slot lists (ssl3con.c, ssl_PrivateKeySupportsRsaPss). */
void rule_mech_04(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  uint64_t type, class;
  if (!slot || model_removal(slot, call)) return;
  switch (call->known) {
    case P11_F_C_SignInit:
      init(check, call);
      if (call->rv == CKR_OK && mech_given(call, &type) && mech_key_type(type) == CKK_RSA)
        unlisted(check, class_of(mech_key(check, call)));
      return;
    case P11_F_C_Sign: sign(check, call); return;
    default: /* C_GetAttributeValue */
      if (call->rv != CKR_OK || !pick_attribute_number(pick_template(call), CKA_KEY_TYPE, &type) || type != CKK_RSA)
        return;
      if (!pick_attribute_number(pick_template(call), CKA_CLASS, &class)) class = class_of(check->place.object);
      unlisted(check, class);
  }
}
