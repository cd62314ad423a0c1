/* New key pairs: which handle is which, and that they get a CKA_ID. */
#include <inttypes.h>

#include "decoder/rules/key/known.h"

#define SECOND 1000000000ull
#define PAIRS 16

/* The last key pairs that were generated: a ring, with the module. Each rule keeps its own. */
struct pair {
  uint64_t public, private;
  struct note made;
};
struct pairs {
  struct pair pair[PAIRS];
  unsigned count;
};

static void add_pair(struct check *check, const struct call *call, const struct kept_type *type)
{
  struct pair p;
  if (call->rv != CKR_OK || !pick_out(call, 6, &p.public) || !pick_out(call, 7, &p.private)) return;
  model_note(&check->place, &p.made, call);
  struct pairs *all = kept_make(&check->place.module->kept, type);
  all->pair[all->count++ % PAIRS] = p;
}

/* The pair that has the handle, unless that is another object's by now. */
static const struct pair *pair_of(const struct check *check, uint64_t handle, const struct kept_type *type)
{
  const struct pairs *all = kept_get(check->place.module->kept, type);
  const struct model_object *o = check->place.object;
  for (unsigned i = 0; all && i < PAIRS; i++) {
    const struct pair *p = &all->pair[i];
    if ((p->public == handle || p->private == handle) && o && o->made.number == p->made.number) return p;
  }
  return NULL;
}

/* --- NSS-KEY-02 --------------------------------------------------------------------------------------------------- */

static const struct kept_type key_02 = {sizeof(struct pairs), NULL};

static const uint64_t usage[] = {CKA_ENCRYPT,        CKA_DECRYPT, CKA_SIGN,   CKA_SIGN_RECOVER, CKA_VERIFY,
                                 CKA_VERIFY_RECOVER, CKA_WRAP,    CKA_UNWRAP, CKA_DERIVE};

/* The standard, C_GenerateKeyPair: "phPublicKey points to the location that receives the handle of the new public
 * key". NSS reads CKA_CLASS of the first at once, because some modules have them the other way round (pk11akey.c,
 * PK11_GenerateKeyPairWithOpFlags). */
void rule_key_02(struct check *check, const struct call *call)
{
  uint64_t handle, class, flag;
  if (call->known == P11_F_C_GenerateKeyPair) {
    add_pair(check, call, &key_02);
    return;
  }
  if (call->rv != CKR_OK || !pick_in(call, 1, &handle)) return;
  const struct pair *p = pair_of(check, handle, &key_02);
  if (!p) return;
  const struct value *after = &call->arg[2].out;
  const bool public = p->public == handle;
  if (pick_attribute_number(after, CKA_CLASS, &class) && class != (public ? CKO_PUBLIC_KEY : CKO_PRIVATE_KEY)) {
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, 1, "C_GenerateKeyPair returns the handles in the wrong order");
    finding_note(f, &p->made, NULL);
    finding_call(f, check, "what was returned as %s is of class %s", public ? "phPublicKey" : "phPrivateKey",
                 class == CKO_PUBLIC_KEY    ? "CKO_PUBLIC_KEY"
                 : class == CKO_PRIVATE_KEY ? "CKO_PRIVATE_KEY"
                                            : "another kind");
    return;
  }
  for (size_t i = 0; i < sizeof usage / sizeof *usage; i++) {
    const struct model_attribute *given = model_attribute(check->place.object, usage[i]);
    if (!given || given->source != SOURCE_GIVEN || !given->scalar || !pick_attribute_number(after, usage[i], &flag) ||
        !given->number == !flag)
      continue;
    const struct p11_attribute_info *info = p11_attribute(usage[i]);
    struct finding *f = finding_report(check, SEVERITY_WARNING, usage[i] << 1,
                                       "a new key does not have the %s that was asked for", info->name);
    finding_note(f, &p->made, "%s = %s", info->name, given->number ? "CK_TRUE" : "CK_FALSE");
    finding_call(f, check, "%s = %s", info->name, flag ? "CK_TRUE" : "CK_FALSE");
  }
}

/* --- NSS-KEY-03 --------------------------------------------------------------------------------------------------- */

static const struct kept_type key_03 = {sizeof(struct pairs), NULL};

/* The last refusal. */
struct refusal {
  struct note note;
  uint64_t key; /* of the finding */
  const struct p11_attribute_info *attribute;
  uint64_t public, private; /* of the pair that the key belongs to, if it was generated */
};
static const struct kept_type refusal_type = {sizeof(struct refusal), NULL};

static bool refuses(const struct call *call, const struct model_session *s)
{
  switch (call->rv) {
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_ACTION_PROHIBITED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_TEMPLATE_INCONSISTENT: return true;
    case CKR_SESSION_READ_ONLY: return s && s->opened.number && (s->flags & CKF_RW_SESSION);
    default: return false;
  }
}

static void set_refused(struct check *check, const struct call *call, const struct model_object *o,
                        const struct p11_attribute_info *attribute)
{
  const struct model_slot *slot = check->place.slot;
  char code[24];
  if (!model_number(o, CKA_MODIFIABLE, 1)) return;
  if (slot->token.known && (slot->token.flags & CKF_WRITE_PROTECTED)) return;
  const struct pair *p = pair_of(check, o->handle, &key_03);
  struct finding *f = finding_report(check, SEVERITY_ERROR, attribute->type, "%s of a key cannot be set: %s",
                                     attribute->name, note_rv(call->rv, code));
  finding_note(f, &o->made, "the key is made");
  finding_call(f, check, "%s", attribute->name);
  struct refusal *r = kept_make(&check->place.module->kept, &refusal_type);
  *r = (struct refusal){.key = attribute->type, .attribute = attribute};
  if (p) {
    r->public = p->public;
    r->private = p->private;
  }
  model_note(&check->place, &r->note, call);
}

/* NSS gives up, and wants to delete what it has made: through a session that is not read/write (pk11akey.c). */
static void not_deleted(struct check *check, const struct call *call)
{
  const struct refusal *r = kept_get(check->place.module->kept, &refusal_type);
  uint64_t handle;
  char code[24], refused[24];
  if (!r || call->rv == CKR_OK || !pick_in(call, 1, &handle) || call->start > r->note.end + SECOND) return;
  if (!handle || (handle != r->public && handle != r->private)) return;
  finding_say(check, r->key,
              "%s of a key cannot be set: %s. The application deletes the new key pair, and cannot (%s): the "
              "token keeps an orphan key",
              r->attribute->name, note_rv(r->note.rv, refused), note_rv(call->rv, code));
}

/* FAQ, Q5: "Orphaned keys have a CKA_ID generated from some part of the public key. This value is set when the key is
 * generated" - by it NSS finds the key when the certificate comes. */
static void own_id(struct check *check, const struct call *call, const struct model_object *o)
{
  const struct pair *p = pair_of(check, o->handle, &key_03);
  size_t length;
  const uint8_t *id = pick_bytes(pick_attribute(pick_template(call), CKA_ID), &length);
  if (!p || !id || !length) return;
  const struct known *k = known_of(table_get(&check->place.module->objects, p->public));
  if (!k || !k->nss_id) k = known_of(o);
  if (!k || !k->nss_id || k->nss_id == pick_hash(id, length)) return;
  const struct finding_options options = {.fault = FAULT_CALLER};
  struct finding *f =
      finding_report_as(check, &options, SEVERITY_INFO, 1,
                        "the application gives a new key a CKA_ID that is not NSS's (SHA-1 of modulus or point)");
  finding_note(f, &p->made, NULL);
  finding_note(f, &k->key_note, "the public key");
  finding_call(f, check, "CKA_ID of %zu bytes", length);
}

/* FAQ, Q31: "In the key generation process, NSS arranges for the key to have it's CKA_ID set to some value derived
 * from the public key". It does so by C_SetAttributeValue after C_GenerateKeyPair. */
void rule_key_03(struct check *check, const struct call *call)
{
  static const uint64_t set[] = {CKA_ID, CKA_LABEL, CKA_SUBJECT};
  struct model_object *o = check->place.object;
  switch (call->known) {
    case P11_F_C_GenerateKeyPair: add_pair(check, call, &key_03); return;
    case P11_F_C_GetAttributeValue: known_learn(check, call); return;
    case P11_F_C_DestroyObject: not_deleted(check, call); return;
    default: break;
  }
  if (!o || !check->place.slot || model_removal(check->place.slot, call)) return;
  if (o->facts.class != CKO_PRIVATE_KEY && o->facts.class != CKO_PUBLIC_KEY) return;
  if (call->rv == CKR_OK) {
    own_id(check, call, o);
    return;
  }
  const struct value *template = pick_template(call);
  if (!template || template->count != 1 || !refuses(call, check->place.session)) return;
  for (size_t i = 0; i < sizeof set / sizeof *set; i++)
    if (template->item[0].number == set[i]) set_refused(check, call, o, p11_attribute(set[i]));
}
