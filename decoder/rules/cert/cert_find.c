/* Certificates that searches should return, and what must be seen without a login. */
#include <stdlib.h>
#include <string.h>

#include "decoder/model/search.h"
#include "decoder/rules/key/known.h"

/* --- NSS-CERT-04 -------------------------------------------------------------------------------------------------- */

/* The attributes that NSS looks certificates up by, as the standard's names; NULL when it is none of its searches. */
static const char *looked_up_by(const struct model_search *q)
{
  if (model_search_attribute(q, CKA_ISSUER))
    return model_search_attribute(q, CKA_SERIAL_NUMBER) ? "CKA_ISSUER and CKA_SERIAL_NUMBER" : "CKA_ISSUER";
  if (model_search_attribute(q, CKA_SUBJECT)) return "CKA_SUBJECT";
  if (model_search_attribute(q, CKA_LABEL)) return "CKA_LABEL";
  if (model_search_attribute(q, CKA_VALUE)) return "CKA_VALUE";
  if (model_search_attribute(q, CKA_ID)) return "CKA_ID";
  return q->attributes && q->attributes <= 2 && model_search_attribute(q, CKA_TOKEN) ? "CKA_CLASS and CKA_TOKEN" : NULL;
}

/* FAQ, Q5: certificates are looked up "by label", "by issuer/serial number", "by their DER value", "by subject", by
 * CKA_ID, and NSS enumerates those of the token. Nothing is found although one is known that has all these
 * attributes. */
void rule_cert_04(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const struct model_search *q = model_search(s);
  bool given;
  if (!q || !q->active || q->results || s->search.class != CKO_CERTIFICATE) return;
  const char *by = looked_up_by(q);
  if (!by) return;
  for (struct model_object *o = NULL; (o = model_search_missed(s, call, o));) {
    /* What the application wrote and nobody has read is another matter: NSS-OBJ-09. */
    if (model_search_matches(q, o, &given) != TRI_YES || given) continue;
    const struct known *k = known_of(o);
    const struct finding_options options = {.cause = CAUSE_MISSING};
    struct finding *f = finding_report_as(check, &options, SEVERITY_ERROR, pick_hash(by, strlen(by)),
                                          "a search for certificates by %s does not find one that has them", by);
    const struct exhibit e[] = {
        {k && k->key_note.number ? &k->key_note : &o->listed, "the certificate, as it was read"},
        {&q->last,                                            "nothing is found"               },
    };
    known_show(f, check, e, 2);
    return;
  }
}

/* --- NSS-CERT-05, NSS-CERT-08: certificates without a login ------------------------------------------------------- */

struct public_search {
  uint64_t key, begun;
  struct note note;
};
struct visible {
  struct public_search search[8]; /* for certificates while nobody was logged in: a ring */
  unsigned searches;
  struct note profile; /* the read of CKP_PUBLIC_CERTIFICATES_TOKEN */
};
static const struct kept_type visible_type = {sizeof(struct visible), NULL};

/* What shows that a certificate is not public. */
struct hidden {
  const struct note *before; /* the search that did not return it; NULL: CKA_PRIVATE was read */
  const struct model_object *object;
};

static void remember_public(struct check *check, const struct model_search *q)
{
  struct visible *v = kept_make(&check->place.slot->kept, &visible_type);
  for (unsigned i = 0; i < 8; i++)
    if (v->search[i].key == q->key) {
      v->search[i] = (struct public_search){q->key, q->begun, q->last};
      return;
    }
  v->search[v->searches++ % 8] = (struct public_search){q->key, q->begun, q->last};
}

static bool hidden_by_search(struct check *check, const struct call *call, struct hidden *hidden)
{
  const struct model_session *s = check->place.session;
  const struct model_search *q = model_search(s);
  struct model_slot *slot = check->place.slot;
  if (!q || !q->active || s->search.class != CKO_CERTIFICATE || !q->key || !model_search_over(s, call)) return false;
  if (q->login == LOGIN_PUBLIC && model_logged_out(slot)) remember_public(check, q);
  const struct visible *v = kept_get(slot->kept, &visible_type);
  if (!v || !model_logged_in(slot)) return false;
  for (unsigned i = 0; i < 8; i++) {
    if (v->search[i].key != q->key) continue;
    for (unsigned k = 0; k < q->kept; k++) {
      const struct model_object *o = table_get(&check->place.module->objects, q->handle[k]);
      /* What was stored since is no wonder. */
      if (!o || o->shown_public || o->made.number || o->found.number < v->search[i].begun) continue;
      *hidden = (struct hidden){&v->search[i].note, o};
      return true;
    }
  }
  return false;
}

static bool hidden_certificate(struct check *check, const struct call *call, struct hidden *hidden)
{
  const struct value *template = pick_template(call);
  const struct model_object *o = check->place.object;
  uint64_t private, class = o ? o->facts.class : MODEL_NO_CLASS;
  if (!check->place.slot || model_removal(check->place.slot, call)) return false;
  if (call->known == P11_F_C_FindObjectsFinal) return hidden_by_search(check, call, hidden);
  if (!template || !pick_attribute_number(template, CKA_PRIVATE, &private) || !private) return false;
  pick_attribute_number(template, CKA_CLASS, &class);
  *hidden = (struct hidden){NULL, o};
  return class == CKO_CERTIFICATE && !(o && o->made.number);
}

static const struct visible *profile_of(const struct model_slot *slot)
{
  const struct visible *v = slot ? kept_get(slot->kept, &visible_type) : NULL;
  return v && v->profile.number ? v : NULL;
}

static void show(struct check *check, struct finding *f, const struct visible *v, const struct hidden *hidden)
{
  static const struct note none;
  const struct exhibit e[] = {
      {v ? &v->profile : &none,                         "CKP_PUBLIC_CERTIFICATES_TOKEN"                            },
      {hidden->before ? hidden->before : &none,         "without a login it is not found"                          },
      {hidden->before ? &hidden->object->listed : NULL, hidden->before ? "with one it is" : "CKA_PRIVATE = CK_TRUE"},
  };
  known_show(f, check, e, 3);
  if (hidden->before) finding_hint(f, "another program may have stored the certificate between the two searches");
}

/* NSS searches for certificates before it logs in, on tokens that are said to be friendly or have the profile
 * (pk11slot.c, PK11_IsFriendly); elsewhere it asks for the PIN first. */
void rule_cert_05(struct check *check, const struct call *call)
{
  struct hidden hidden;
  if (!hidden_certificate(check, call, &hidden) || profile_of(check->place.slot)) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, 1, "a certificate of the token can be read only by who is logged in");
  show(check, f, NULL, &hidden);
}

/* The standard's profiles, Public Certificates Token: "All certificates are publicly readable, able to be found on
 * the token without a login having been performed". */
void rule_cert_08(struct check *check, const struct call *call)
{
  struct hidden hidden;
  uint64_t id;
  if (call->known == P11_F_C_GetAttributeValue && check->place.slot &&
      pick_attribute_number(&call->arg[2].out, CKA_PROFILE_ID, &id) && id == CKP_PUBLIC_CERTIFICATES_TOKEN) {
    struct visible *v = kept_make(&check->place.slot->kept, &visible_type);
    model_note(&check->place, &v->profile, call);
  }
  if (!hidden_certificate(check, call, &hidden)) return;
  const struct visible *v = profile_of(check->place.slot);
  if (!v) return;
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 1,
                     "the token has the profile CKP_PUBLIC_CERTIFICATES_TOKEN, and a certificate that can be "
                     "read only by who is logged in");
  show(check, f, v, &hidden);
}

/* --- NSS-CERT-06: public keys without a login --------------------------------------------------------------------- */

/* Searches of public keys by CKA_ID that found nothing while nobody was logged in: a ring. */
struct no_public_key {
  uint64_t id[32];
  struct note note[32];
  unsigned count;
};
static const struct kept_type no_public_key_type = {sizeof(struct no_public_key), NULL};

/* CKA_IDs of private keys that were seen, in whatever process: who is not logged in does not see them. */
struct private_ids {
  struct table by_id; /* hash of token and CKA_ID -> struct note */
};
static void clear_ids(void *state)
{
  table_clear(&((struct private_ids *)state)->by_id, free);
}
static const struct kept_type private_ids_type = {sizeof(struct private_ids), clear_ids};
#define PRIVATE_IDS 4096

static uint64_t id_key(const struct check *check, uint64_t id)
{
  const uint64_t part[] = {checker_token(check->place.slot), id};
  return part[0] && id ? pick_hash(part, sizeof part) : 0;
}

static void remember_id(struct check *check, uint64_t id)
{
  struct private_ids *all = kept_make(checker_kept(check), &private_ids_type);
  const uint64_t key = id_key(check, id);
  if (!key || all->by_id.count >= PRIVATE_IDS || table_get(&all->by_id, key)) return;
  struct note *note = model_alloc(sizeof *note);
  model_note(&check->place, note, check->call);
  table_put(&all->by_id, key, note);
}

static const struct note *remembered_id(struct check *check, uint64_t id)
{
  const struct private_ids *all = kept_get(*checker_kept(check), &private_ids_type);
  const uint64_t key = id_key(check, id);
  return key && all ? table_get(&all->by_id, key) : NULL;
}

static void forget_id(struct check *check, uint64_t id)
{
  struct private_ids *all = kept_get(*checker_kept(check), &private_ids_type);
  const uint64_t key = id_key(check, id);
  if (key && all) free(table_take(&all->by_id, key));
}

static void missed(struct check *check, const struct note *search, const struct note *key, uint64_t id)
{
  const struct finding_options o = {.cause = CAUSE_MISSING};
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, id,
                                        "a private key of the token has no public key that is seen without a login");
  const struct exhibit e[] = {
      {search, "nobody is logged in, and no public key has the CKA_ID"},
      {key,    "a private key has it"                                 },
  };
  known_show(f, check, e, 2);
}

static void searched(struct check *check, const struct call *call)
{
  const struct model_search *q = model_search(check->place.session);
  const struct model_attribute *id = model_search_attribute(q, CKA_ID);
  struct model_slot *slot = check->place.slot;
  if (!id || !id->number || !q->active || q->results || check->place.session->search.class != CKO_PUBLIC_KEY) return;
  if (!model_search_over(check->place.session, call) || q->login != LOGIN_PUBLIC || !model_logged_out(slot)) return;
  if (!slot->token.known || !(slot->token.flags & CKF_LOGIN_REQUIRED)) return;
  struct model_object *key = known_other(check, BY_ID, id->number, CKO_PRIVATE_KEY, NULL);
  if (key && !key->made.number) {
    missed(check, &q->last, &known_of(key)->id_note, id->number);
    return;
  }
  const struct note *elsewhere = remembered_id(check, id->number);
  if (elsewhere) {
    missed(check, &q->last, elsewhere, id->number);
    return;
  }
  struct no_public_key *n = kept_make(&slot->kept, &no_public_key_type);
  for (unsigned i = 0; i < 32; i++)
    if (n->id[i] == id->number) return;
  n->id[n->count % 32] = id->number;
  n->note[n->count++ % 32] = q->last;
}

/* A private key with that CKA_ID is there. */
static void key_seen(struct check *check, uint64_t id, const struct model_object *key)
{
  struct no_public_key *n = kept_get(check->place.slot->kept, &no_public_key_type);
  if (!key || !key->made.number) remember_id(check, id);
  for (unsigned i = 0; n && id && i < 32; i++) {
    if (n->id[i] != id) continue;
    /* Keys are looked for before they are made, too. */
    if (!key || !key->made.number) missed(check, &n->note[i], NULL, id);
    n->id[i] = 0;
  }
}

static void forget(struct check *check, const struct value *template)
{
  struct no_public_key *n = kept_get(check->place.slot->kept, &no_public_key_type);
  const struct model_facts facts = model_facts(template);
  for (unsigned i = 0; n && i < 32; i++)
    if (facts.id && n->id[i] == facts.id) n->id[i] = 0;
}

/* FAQ, Q4: "NSS falls back to looking for the existance of public keys to determine if the token may have the
 * corresponding private key while the token is not logged in." */
void rule_cert_06(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  if (!check->place.slot || model_removal(check->place.slot, call)) return;
  if (call->known == P11_F_C_FindObjectsFinal) {
    if (s) searched(check, call);
    return;
  }
  if (call->known == P11_F_C_FindObjects) {
    const struct value *list = &call->arg[1].out;
    if (call->rv == CKR_OK && s && s->searching && s->search.class == CKO_PRIVATE_KEY && s->search.id &&
        list->what == VALUE_LIST && list->count)
      key_seen(check, s->search.id, table_get(&check->place.module->objects, list->item[0].number));
    return;
  }
  if (call->known == P11_F_C_GetAttributeValue) {
    const struct known_news *n = known_learn(check, call);
    if (n->object && n->id && n->known->class == CKO_PRIVATE_KEY) key_seen(check, n->known->id, n->object);
    return;
  }
  if (call->known == P11_F_C_DestroyObject) {
    if (call->rv == CKR_OK && check->place.object && check->place.object->facts.class == CKO_PRIVATE_KEY)
      forget_id(check, check->place.object->facts.id);
    return;
  }
  /* Keys that are made or get that CKA_ID now. */
  if (call->rv == CKR_OK) forget(check, pick_template(call));
}
