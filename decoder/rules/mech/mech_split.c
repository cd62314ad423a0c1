/* Slots that have keys, and not what is needed beside them. */
#include <string.h>

#include "decoder/rules/mech/mech_help.h"

enum { AES = 1, HMAC = 2, KEY_DERIVATION = 4, DIGEST = 8, KEY_PAIRS = 16 };

static unsigned kind_of(uint64_t type)
{
  switch (type) {
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
    case CKM_AES_GCM: return AES;
    case CKM_SHA_1_HMAC:
    case CKM_SHA256_HMAC:
    case CKM_SHA384_HMAC:
    case CKM_SHA512_HMAC: return HMAC;
    case CKM_HKDF_DERIVE:
    case CKM_HKDF_DATA:
    case CKM_TLS12_KEY_AND_MAC_DERIVE:
    case CKM_TLS12_MASTER_KEY_DERIVE:
    case CKM_TLS_KDF: return KEY_DERIVATION;
    case CKM_SHA_1:
    case CKM_SHA256:
    case CKM_SHA384:
    case CKM_SHA512: return DIGEST;
    case CKM_RSA_PKCS:
    case CKM_RSA_X_509:
    case CKM_ECDSA:
    case CKM_ECDH1_DERIVE:
    case CKM_DSA: return KEY_PAIRS;
    default: return 0;
  }
}

/* Of a slot, what it lists; made once for a list. */
struct kinds {
  uint64_t count; /* of known mechanisms then */
  unsigned kinds;
  bool said;
};
static const struct kept_type kinds_type = {sizeof(struct kinds), NULL};

static struct kinds *kinds_of(struct model_slot *slot)
{
  struct kinds *k = kept_make(&slot->kept, &kinds_type);
  if (k->count == slot->mechanisms.count) return k;
  k->count = slot->mechanisms.count;
  k->kinds = 0;
  size_t at = 0;
  for (const struct model_mechanism *m; (m = table_next(&slot->mechanisms, &at));)
    if (m->listed) k->kinds |= kind_of(m->type);
  return k;
}

/* A mechanism of that kind that the slot lists, to be shown. */
static const struct model_mechanism *example(const struct model_slot *slot, unsigned kind)
{
  size_t at = 0;
  const struct model_mechanism *found = NULL;
  for (const struct model_mechanism *m; slot && (m = table_next(&slot->mechanisms, &at));)
    if (m->listed && kind_of(m->type) & kind && (!found || m->type < found->type)) found = m;
  return found;
}

/* Another slot of the module that has them. */
static struct model_slot *other_slot(struct model_slot *slot, unsigned kinds)
{
  size_t at = 0;
  struct model_slot *found = NULL;
  for (struct model_slot *s; (s = table_next(&slot->module->slots, &at));)
    if (s != slot && s->mechanisms_listed && kinds_of(s)->kinds & kinds && (!found || s->id < found->id)) found = s;
  return found;
}

static void names(unsigned kinds, char *text, size_t size)
{
  static const struct {
    unsigned kind;
    const char *name;
  } name[] = {
      {AES,            "AES"           },
      {HMAC,           "HMAC"          },
      {KEY_DERIVATION, "key derivation"},
      {DIGEST,         "digests"       },
  };
  size_t used = 0;
  text[0] = 0;
  for (size_t i = 0; i < sizeof name / sizeof *name; i++)
    if (kinds & name[i].kind) note_append(text, size, &used, "%s%s", used ? ", " : "", name[i].name);
}

/* FAQ, Q15: "On servers, it's almost always the slot that contains the server's private key." Q18: "Once NSS starts
 * using a token for a given operation (like S/MIME or SSL), it works hard to keep using that same token (so keys don't
 * get moved around)." Where the token cannot go on, NSS takes the secret keys off it (NSS-KEY-08) and works in its own.
 * A card that only signs is no worse for it: said once. */
void rule_mech_05(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  char missing[64];
  if (call->rv != CKR_OK || !slot || !slot->mechanisms_listed) return;
  const struct model_object *key = mech_key(check, call);
  if (!key || key->facts.class != CKO_PRIVATE_KEY) return;
  struct kinds *k = kinds_of(slot);
  if (k->said) return;
  /* One of them is enough to see that it does more than key pairs: which NSS wants depends on the protocol. */
  const unsigned lacks = k->kinds & (AES | HMAC) ? 0 : (AES | HMAC | KEY_DERIVATION | DIGEST) & ~k->kinds;
  if (!lacks || !(k->kinds & KEY_PAIRS)) return;
  k->said = true;
  struct model_slot *other = other_slot(slot, lacks & (AES | HMAC));
  names(lacks, missing, sizeof missing);
  struct finding *f =
      finding_report(check, SEVERITY_INFO, other != NULL,
                     other ? "the slot of the private key lists no mechanisms for %s; another slot of the module does"
                           : "the slot of the private key lists no mechanisms for %s: NSS does that in its own token",
                     missing);
  const struct model_mechanism *own = example(slot, KEY_PAIRS), *others = example(other, lacks);
  char name[24];
  if (own) finding_note(f, &own->note, "%s is listed", mech_name(own->type, name));
  if (others)
    finding_note(f, &others->note, "slot %lu lists %s", (unsigned long)other->id, mech_name(others->type, name));
  finding_call(f, check, "the private key");
}
