/* CKA_ID: what links a certificate to its keys. */
#include "decoder/model/search.h"
#include "decoder/rules/key/known.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

static bool id_known(const struct known *k)
{
  return k->id || k->no_id;
}

/* The keys are the same, or cannot be compared. */
static bool may_be_same_key(const struct known *a, const struct known *b)
{
  return !a->key || !b->key || a->key == b->key;
}

/* What the application itself stored under another CKA_ID is its fault. */
static struct finding *report(struct check *check, const struct model_object *a, const struct model_object *b,
                              enum severity severity, uint64_t key, const char *sentence)
{
  const bool wrote = a->made.number || b->made.number;
  const struct finding_options o = {.fault = wrote ? FAULT_CALLER : FAULT_MODULE};
  return finding_report_as(check, &o, wrote ? SEVERITY_WARNING : severity, key, "%s", sentence);
}

/* (a) A certificate and a key object of the same public key that do not have the same CKA_ID. */
static void unlinked(struct check *check, struct model_object *cert, struct model_object *key)
{
  const struct known *c = known_of(cert), *k = known_of(key);
  if (cert->facts.token == TRI_NO || key->facts.token != TRI_YES) return;
  if (!id_known(c) || !id_known(k) || c->id == k->id || !may_be_same_key(c, k)) return;
  /* A private key with the certificate's CKA_ID is there: whether that is its own is asked by NSS-KEY-06. */
  if (known_other(check, BY_ID, c->id, CKO_PRIVATE_KEY, key)) return;
  struct finding *f =
      report(check, cert, key, SEVERITY_ERROR, k->id,
             k->class == CKO_PRIVATE_KEY ? "a certificate and its private key do not have the same CKA_ID"
                                         : "a certificate and its public key do not have the same CKA_ID");
  const struct exhibit e[] = {
      {&k->id_note,  k->no_id ? "the key has no CKA_ID" : "CKA_ID of the key"                },
      {&k->key_note, "the key"                                                               },
      {&c->id_note,  c->no_id ? "the certificate has no CKA_ID" : "CKA_ID of the certificate"},
      {&c->key_note, "the certificate of that key"                                           },
  };
  known_show(f, check, e, COUNT(e));
}

static void compare_links(struct check *check, const struct known_news *n)
{
  static const uint64_t key_class[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
  const struct known *k = n->known;
  struct model_object *other;
  if (k->class == CKO_CERTIFICATE) {
    for (size_t i = 0; i < COUNT(key_class); i++) {
      other = known_other(check, BY_KEY, k->key, key_class[i], NULL);
      if (!other && i == 0) other = known_other(check, BY_ID, k->nss_id, key_class[i], NULL);
      if (!other) continue;
      unlinked(check, n->object, other);
      return;
    }
    return;
  }
  other = known_other(check, BY_KEY, k->key, CKO_CERTIFICATE, NULL);
  if (!other && k->class == CKO_PRIVATE_KEY) other = known_other(check, BY_NSS_ID, k->id, CKO_CERTIFICATE, NULL);
  if (other) unlinked(check, other, n->object);
}

/* (b) Two private keys, or two certificates of different keys, with one CKA_ID. Of certificates only where it is a
 * key's: modules of root certificates give all of them the same. */
static void not_unique(struct check *check, const struct known_news *n)
{
  const struct known *k = n->known;
  if (k->class == CKO_PUBLIC_KEY || (k->class == CKO_CERTIFICATE && !model_has_key(check->place.slot, k->id))) return;
  struct model_object *twin = known_other(check, BY_ID, k->id, k->class, n->object);
  if (!twin) return;
  const struct known *t = known_of(twin);
  const bool private = k->class == CKO_PRIVATE_KEY, known = k->key && t->key;
  if (known ? k->key == t->key : !private) return;
  if (private ? n->object->facts.token != TRI_YES || twin->facts.token != TRI_YES
              : n->object->facts.token == TRI_NO || twin->facts.token == TRI_NO)
    return;
  /* Not the same key that has a new handle. */
  if (!known && (!twin->found.number || twin->found.number != n->object->found.number)) return;
  struct finding *f = report(check, n->object, twin, known ? SEVERITY_ERROR : SEVERITY_WARNING, k->id,
                             private ? "two private keys of the token have the same CKA_ID"
                                     : "certificates of different keys have the same CKA_ID");
  const struct exhibit e[] = {
      {&t->id_note,                 private ? "one key" : "one certificate"                                  },
      {known ? &t->key_note : NULL, "it"                                                                     },
      {&k->id_note,                 private ? "another key has the same" : "another certificate has the same"},
      {known ? &k->key_note : NULL, "it"                                                                     },
  };
  known_show(f, check, e, COUNT(e));
}

/* Private keys that applications have made without a CKA_ID, in whatever process: a ring. */
struct unnamed {
  uint64_t token[16]; /* checker_token() */
  struct note made[16];
  unsigned count;
};
static const struct kept_type unnamed_type = {sizeof(struct unnamed), NULL};

static void made(struct check *check, const struct call *call, const struct value *template, uint64_t class)
{
  uint64_t token;
  const uint64_t of = checker_token(check->place.slot);
  const struct value *id = pick_attribute(template, CKA_ID);
  if (call->rv != CKR_OK || !of || (id && id->length)) return;
  pick_attribute_number(template, CKA_CLASS, &class);
  if (class != CKO_PRIVATE_KEY || !pick_attribute_number(template, CKA_TOKEN, &token) || !token) return;
  struct unnamed *u = kept_make(checker_kept(check), &unnamed_type);
  u->token[u->count % 16] = of;
  model_note(&check->place, &u->made[u->count++ % 16], call);
}

static void named(struct check *check, const struct model_object *o)
{
  struct unnamed *u = kept_get(*checker_kept(check), &unnamed_type);
  for (unsigned i = 0; u && o && o->made.number && i < 16; i++)
    if (u->made[i].number == o->made.number && u->made[i].process == o->made.process) u->token[i] = 0;
}

static const struct note *unnamed(struct check *check)
{
  const struct unnamed *u = kept_get(*checker_kept(check), &unnamed_type);
  const uint64_t of = checker_token(check->place.slot);
  for (unsigned i = 0; u && of && i < 16; i++)
    if (u->token[i] == of) return &u->made[i];
  return NULL;
}

/* (c) A private key without CKA_ID. Keys have none before the application that makes them sets it. */
static void empty(struct check *check, const struct known_news *n)
{
  const struct known *k = n->known;
  if (!k->no_id || k->class != CKO_PRIVATE_KEY || n->object->facts.token != TRI_YES || n->object->made.number) return;
  const struct note *by = unnamed(check);
  const struct finding_options o = {.fault = by ? FAULT_CALLER : FAULT_MODULE};
  struct finding *f =
      finding_report_as(check, &o, by ? SEVERITY_WARNING : SEVERITY_ERROR, n->object->handle,
                        by ? "a private key was stored without a CKA_ID" : "a private key of the token has no CKA_ID");
  const struct exhibit e[] = {
      {by ? by : &n->object->found, by ? "made without CKA_ID" : "the private key"},
      {NULL,                        "CKA_ID is empty"                             },
  };
  known_show(f, check, e, COUNT(e));
}

/* (d) NSS trusts a CA whose CKA_ID is zero (pk11cert.c, pk11_isID0): a sign of a module of root certificates, not of
 * a token with somebody's keys. */
static void zero(struct check *check, const struct known_news *n)
{
  const struct known *k = n->known;
  const struct model_token *token = &check->place.slot->token;
  if (!k->zero_id || !k->cert.ca || !k->cert.self_issued || !token->known || !(token->flags & CKF_LOGIN_REQUIRED))
    return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, n->object->handle,
                     "the CKA_ID of a self-signed CA certificate is zero: NSS trusts it to issue certificates");
  const struct exhibit e[] = {
      {&k->id_note,  "CKA_ID is zero"                   },
      {&k->key_note, "a self-signed certificate of a CA"},
  };
  known_show(f, check, e, COUNT(e));
}

/* (e) A certificate without its key, and a key without its certificate: perhaps they belong together. */
struct lonely {
  struct note certificate, no_key, key, no_certificate;
};
static const struct kept_type lonely_type = {sizeof(struct lonely), NULL};

static void lonely(struct check *check, const struct call *call)
{
  const struct model_search *q = model_search(check->place.session);
  const struct model_attribute *id = model_search_attribute(q, CKA_ID);
  if (!id || !q->active || q->results || !model_search_over(check->place.session, call)) return;
  if (!model_logged_in(check->place.slot) || q->login != LOGIN_USER) return;
  const bool key = check->place.session->search.class == CKO_PRIVATE_KEY;
  if (!key && check->place.session->search.class != CKO_CERTIFICATE) return;
  /* The other half, which has that CKA_ID. */
  struct model_object *o = known_other(check, BY_ID, id->number, key ? CKO_CERTIFICATE : CKO_PRIVATE_KEY, NULL);
  const struct known *k = known_of(o);
  if (!o || o->made.number || (key ? k->cert.ca || !k->cert.is_certificate : o->facts.token != TRI_YES)) return;
  struct lonely *l = kept_make(&check->place.slot->kept, &lonely_type);
  *(key ? &l->certificate : &l->key) = k->id_note;
  *(key ? &l->no_key : &l->no_certificate) = q->last;
  if (!l->key.number || !l->certificate.number) return;
  struct finding *f =
      finding_report(check, SEVERITY_INFO, 1,
                     "a certificate has no private key with its CKA_ID, and a private key has no certificate "
                     "with its: if they belong together, one CKA_ID is wrong");
  const struct exhibit e[] = {
      {&l->certificate,    "CKA_ID of the certificate"},
      {&l->no_key,         "no private key has it"    },
      {&l->key,            "CKA_ID of the private key"},
      {&l->no_certificate, "no certificate has it"    },
  };
  known_show(f, check, e, COUNT(e));
}

/* FAQ, Q5: "Private keys must have the same CKA_ID value as their corresponding certificate, and this value must be
 * unique on the token." NSS goes from one to the other by it only (pk11obj.c, PK11_MatchItem). */
void rule_cert_03(struct check *check, const struct call *call)
{
  if (!check->place.slot || model_removal(check->place.slot, call)) return;
  switch (call->known) {
    case P11_F_C_FindObjectsFinal:
      if (check->place.session) lonely(check, call);
      return;
    case P11_F_C_GenerateKeyPair: made(check, call, &call->arg[4].in, CKO_PRIVATE_KEY); return;
    case P11_F_C_CreateObject: made(check, call, &call->arg[1].in, MODEL_NO_CLASS); return;
    case P11_F_C_UnwrapKey: made(check, call, &call->arg[5].in, MODEL_NO_CLASS); return;
    case P11_F_C_SetAttributeValue:
      if (call->rv == CKR_OK && pick_attribute(pick_template(call), CKA_ID)) named(check, check->place.object);
      break;
    default: break;
  }
  const struct known_news *n = known_learn(check, call);
  if (!n->object || !(n->id || n->key)) return;
  if (n->id) empty(check, n);
  if (n->known->class == CKO_CERTIFICATE) zero(check, n);
  not_unique(check, n);
  compare_links(check, n);
}
