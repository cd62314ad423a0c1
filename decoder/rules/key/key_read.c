/* What NSS reads of keys, and what it should not need to read. */
#include <inttypes.h>

#include "decoder/rules/key/known.h"

#define SECOND 1000000000ull

static bool readable(const struct call *call)
{
  return call->arg[2].in.what == VALUE_TEMPLATE && call->arg[2].out.what == VALUE_TEMPLATE &&
         call->arg[2].in.count == call->arg[2].out.count;
}

/* The attribute is refused by its own, not because a buffer was too small for another. */
static bool refused(const struct call *call, size_t i)
{
  const struct value *before = &call->arg[2].in.item[i], *after = &call->arg[2].out.item[i];
  if (call->rv == CKR_GENERAL_ERROR || call->rv == CKR_FUNCTION_FAILED) return call->arg[2].out.count == 1;
  if (call->rv != CKR_ATTRIBUTE_TYPE_INVALID && call->rv != CKR_ATTRIBUTE_SENSITIVE) return false;
  if (after->length != UINT64_MAX) return call->arg[2].out.count == 1;
  return call->arg[2].out.count == 1 || before->pointer == P11T_P_NULL;
}

/* --- NSS-KEY-01 --------------------------------------------------------------------------------------------------- */

/* What NSS needs of a private key of that type: 0 not, else how bad it is when it is missing. A key whose type is
 * not known has what is said to be sensitive. */
static enum severity needed(uint64_t attribute, uint64_t key_type, uint64_t rv)
{
  const bool any = key_type == UINT64_MAX && rv == CKR_ATTRIBUTE_SENSITIVE;
  switch (attribute) {
    case CKA_KEY_TYPE:
    case CKA_ID: return SEVERITY_ERROR;
    case CKA_PRIVATE: return SEVERITY_WARNING;
    case CKA_MODULUS: return any || key_type == CKK_RSA ? SEVERITY_ERROR : 0;
    case CKA_EC_PARAMS: return any || key_type == CKK_EC ? SEVERITY_ERROR : 0;
    case CKA_SUBPRIME: return key_type == CKK_DSA ? SEVERITY_WARNING : 0;
    case CKA_PARAMETER_SET: return key_type == CKK_ML_DSA ? SEVERITY_WARNING : 0;
    default: return 0;
  }
}

/* FAQ, Q21: "NSS represents each private key and a pointer to its PKCS #11 slot as a CK_OBJECT_HANDLE", so what it
 * must know of a key, the length of its signatures before all, it asks the token for (pk11obj.c, pk11_SignatureLen). */
void rule_key_01(struct check *check, const struct call *call)
{
  const struct model_object *o = check->place.object;
  struct model_slot *slot = check->place.slot;
  if (!slot || !o || call->rv == CKR_OK || o->facts.class != CKO_PRIVATE_KEY || !readable(call)) return;
  if (slot->login != LOGIN_USER || !model_settled(slot, call) || model_removal(slot, call)) return;
  const uint64_t key_type = model_number(o, CKA_KEY_TYPE, UINT64_MAX);
  char code[24], unknown[32];
  for (size_t i = 0; i < call->arg[2].out.count; i++) {
    const uint64_t type = call->arg[2].out.item[i].number;
    const enum severity severity = needed(type, key_type, call->rv);
    if (!severity || !refused(call, i)) continue;
    const char *name = model_attribute_name(type, unknown);
    const struct finding_options options = {.cause = CAUSE_ATTRIBUTES};
    struct finding *f = finding_report_as(check, &options, severity, type, "%s of a private key cannot be read: %s",
                                          name, note_rv(call->rv, code));
    const struct exhibit e[] = {
        {o->found.number ? &o->found : &o->made, "the private key"},
        {NULL,                                   name             },
    };
    known_show(f, check, e, 2);
    if (type == CKA_MODULUS)
      finding_hint(f, "NSS then makes a signature into a buffer of 20 bytes to learn the length, and throws it away");
  }
}

/* --- NSS-KEY-07 --------------------------------------------------------------------------------------------------- */

static bool is_secret(uint64_t type)
{
  switch (type) {
    case CKA_VALUE:
    case CKA_PRIVATE_EXPONENT:
    case CKA_PRIME_1:
    case CKA_PRIME_2:
    case CKA_EXPONENT_1:
    case CKA_EXPONENT_2:
    case CKA_COEFFICIENT: return true;
    default: return false;
  }
}

/* FAQ, Q15: "On servers, it's almost always the slot that contains the server's private key." A handle of one slot is good
 * in sessions of that slot only; where handles are numbered for each slot anew, the call succeeds with another key. */
static void used_elsewhere(struct check *check, const struct call *call)
{
  uint64_t handle;
  const struct model_slot *slot = check->place.slot;
  if ((call->rv != CKR_KEY_HANDLE_INVALID && call->rv != CKR_OBJECT_HANDLE_INVALID) || !slot ||
      !pick_in(call, 2, &handle))
    return;
  const struct model_object *o = table_get(&check->place.module->objects, handle);
  if (!o || !o->slot || o->slot == slot || o->facts.class != CKO_PRIVATE_KEY) return;
  struct finding *f = finding_report(check, SEVERITY_INFO, 2,
                                     "the application uses a private key in a session of another slot than the key's");
  finding_note(f, o->found.number ? &o->found : &o->made, "the private key");
  finding_call(f, check, "a session of another slot");
}

/* FAQ, Q21: "private keys are never extracted from the PKCS #11 module unless the user is trying to back up the
 * key." */
void rule_key_07(struct check *check, const struct call *call)
{
  const struct model_object *o = check->place.object;
  char unknown[32];
  if (call->known != P11_F_C_GetAttributeValue) {
    used_elsewhere(check, call);
    return;
  }
  if (!o || o->facts.class != CKO_PRIVATE_KEY || o->facts.token != TRI_YES || !readable(call)) return;
  for (size_t i = 0; i < call->arg[2].out.count; i++) {
    const struct value *a = &call->arg[2].out.item[i];
    if (!is_secret(a->number)) continue;
    const char *name = model_attribute_name(a->number, unknown);
    const bool given = a->length != UINT64_MAX && (call->rv == CKR_OK || call->rv == CKR_ATTRIBUTE_TYPE_INVALID);
    struct finding *f =
        finding_report(check, SEVERITY_INFO, given,
                       given ? "the application reads the private parts of a key of the token, and gets them"
                             : "the application tries to move a private key off the token, and is refused");
    const struct exhibit e[] = {
        {o->found.number ? &o->found : &o->made, "the private key"},
        {NULL,                                   name             },
    };
    known_show(f, check, e, 2);
    return;
  }
}

/* --- NSS-KEY-08 --------------------------------------------------------------------------------------------------- */

/* The mechanism of the slot for which NSS would want a key of that type. */
static const struct model_mechanism *could_be_used(const struct model_slot *slot, uint64_t key_type)
{
  static const struct {
    uint64_t type, mechanism;
  } use[] = {
      {CKK_AES,  CKM_AES_CBC_PAD },
      {CKK_AES,  CKM_AES_CBC     },
      {CKK_AES,  CKM_AES_GCM     },
      {CKK_DES3, CKM_DES3_CBC    },
      {CKK_DES3, CKM_DES3_CBC_PAD},
  };
  for (size_t i = 0; i < sizeof use / sizeof *use; i++) {
    const struct model_mechanism *m = use[i].type == key_type ? model_mechanism(slot, use[i].mechanism) : NULL;
    if (m && m->listed) return m;
  }
  return NULL;
}

static void copied(struct check *check, const struct call *call, const struct model_object *o)
{
  uint64_t token;
  const bool moves = pick_attribute_number(pick_template(call), CKA_TOKEN, &token) &&
                     (o->facts.token == TRI_UNKNOWN || (o->facts.token == TRI_YES) != (token != 0));
  if (moves || call->rv != CKR_OK) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, 1, "the application copies a secret key that it could use as it is");
  const struct exhibit e[] = {
      {o->found.number ? &o->found : &o->made, "the secret key"},
      {NULL,                                   "the copy"      },
  };
  known_show(f, check, e, 2);
}

/* FAQ, Q29: "This is never necessary. The PKCS #11 specification explicitly requires that symmetric keys must be
 * visible to all sessions of the same application." Q24: "NSS attempts to extract an unwrapped key from a token only
 * if the token cannot provide the necessary service with that key." */
void rule_key_08(struct check *check, const struct call *call)
{
  const struct model_object *o = check->place.object;
  const struct model_slot *slot = check->place.slot;
  if (!o || !slot || o->facts.class != CKO_SECRET_KEY) return;
  if (call->known == P11_F_C_CopyObject) {
    copied(check, call, o);
    return;
  }
  if (call->rv != CKR_OK || !readable(call)) return;
  const struct value *value = pick_attribute(&call->arg[2].out, CKA_VALUE);
  if (!value || value->length == UINT64_MAX ||
      call->arg[2].in.item[value - call->arg[2].out.item].pointer == P11T_P_NULL)
    return;
  const uint64_t type = model_number(o, CKA_KEY_TYPE, UINT64_MAX);
  const struct model_mechanism *m = could_be_used(slot, type);
  const char *name = m ? p11_constant_name(P11_DOM_CKM, m->type) : NULL;
  struct finding *f = finding_report(check, SEVERITY_INFO, 2 + (m != NULL),
                                     m ? "the application takes a secret key off a token that could use it (%s)"
                                       : "the application takes a secret key off the token%s",
                                     name ? name : "");
  const struct exhibit e[] = {
      {m ? &m->note : &(struct note){0},       "the slot's mechanisms"},
      {o->found.number ? &o->found : &o->made, "the secret key"       },
      {NULL,                                   "its CKA_VALUE"        },
  };
  known_show(f, check, e, 3);
}

/* --- NSS-KEY-09 --------------------------------------------------------------------------------------------------- */

struct taken {
  struct note note; /* the read */
  uint64_t key;
};
static const struct kept_type taken_type = {sizeof(struct taken), NULL};

static void token_read(struct check *check, const struct call *call, struct model_object *o)
{
  uint64_t token;
  char code[24];
  if (o->facts.token != TRI_YES || !readable(call)) return;
  const struct value *a = pick_attribute(&call->arg[2].out, CKA_TOKEN);
  if (!a) return;
  const size_t i = (size_t)(a - call->arg[2].out.item);
  const bool denied = call->rv == CKR_OK && pick_attribute_number(&call->arg[2].out, CKA_TOKEN, &token) && !token;
  const bool odd = call->rv == CKR_OK && a->length != 1;
  if (!denied && !odd && !refused(call, i)) return;
  const uint64_t key = denied ? 1 : odd ? 2 : 3;
  struct finding *f = finding_report(check, SEVERITY_ERROR, key, "CKA_TOKEN of a key of the token %s%s",
                                     denied ? "is CK_FALSE"
                                     : odd  ? "does not have one byte"
                                            : "cannot be read: ",
                                     key == 3 ? note_rv(call->rv, code) : "");
  const struct exhibit e[] = {
      {o->found.number ? &o->found : &o->made, "the key, of a search with CKA_TOKEN = CK_TRUE"},
      {NULL,                                   "CKA_TOKEN"                                    },
  };
  known_show(f, check, e, 2);
  struct taken *t = kept_make(&o->kept, &taken_type);
  model_note(&check->place, &t->note, call);
  t->key = key;
}

/* What the application does with a key that it takes for its own: it copies it without a template, and deletes it. */
static void taken(struct check *check, const struct call *call, const struct model_object *o)
{
  const struct taken *t = kept_get(o->kept, &taken_type);
  const struct value *template = pick_template(call);
  char code[24];
  if (!t || call->start > t->note.end + SECOND) return;
  if (call->known == P11_F_C_CopyObject && template && template->count) return;
  if (call->known == P11_F_C_DestroyObject && call->rv == CKR_OK)
    finding_say(
        check, t->key,
        "the application has deleted the user's key: CKA_TOKEN of the key of the token was not CK_TRUE, so it took "
        "the key for a temporary one");
  else
    finding_say(check, t->key,
                "the application takes the user's key for a temporary one, as CKA_TOKEN of a key of the token is not "
                "CK_TRUE, and would delete it: %s = %s",
                p11_functions[call->known].name, note_rv(call->rv, code));
}

/* The standard, storage objects: CKA_TOKEN is CK_TRUE for a token object. NSS takes a private key for temporary, and
 * for its own, when that is not what it reads (pk11akey.c, PK11_MakePrivKey), and deletes it when it is done
 * (seckey.c). */
void rule_key_09(struct check *check, const struct call *call)
{
  struct model_object *o = check->place.object;
  if (!o || !check->place.slot || model_removal(check->place.slot, call)) return;
  if (o->facts.class != CKO_PRIVATE_KEY && o->facts.class != CKO_PUBLIC_KEY && o->facts.class != CKO_SECRET_KEY) return;
  if (call->known == P11_F_C_GetAttributeValue)
    token_read(check, call, o);
  else
    taken(check, call, o);
}
