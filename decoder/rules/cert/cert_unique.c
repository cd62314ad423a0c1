/* Labels of certificates: one for each personality. */
#include "decoder/model/search.h"
#include "decoder/rules/key/known.h"

/* The user's: the token has the private key. `appears`: CKA_ID of one that is just being found. */
static bool users(const struct model_slot *slot, const struct known *k, uint64_t appears)
{
  return k->id && (k->id == appears || model_has_key(slot, k->id));
}

static void compare(struct check *check, struct model_object *a, uint64_t appears)
{
  struct model_slot *slot = check->place.slot;
  const struct known *k = known_of(a);
  if (!k->label || !k->subject || !users(slot, k, appears)) return;
  struct model_object *b = known_other(check, BY_LABEL, k->label, CKO_CERTIFICATE, a);
  const struct known *t = known_of(b);
  const bool same_label = t && t->subject && t->subject != k->subject && users(slot, t, appears);
  if (!same_label) {
    b = known_other(check, BY_SUBJECT, k->subject, CKO_CERTIFICATE, a);
    t = known_of(b);
    if (!t || !t->label || t->label == k->label || !users(slot, t, appears)) return;
  }
  const struct finding_options o = {.fault = a->made.number || b->made.number ? FAULT_CALLER : FAULT_MODULE};
  struct finding *f =
      finding_report_as(check, &o, same_label ? SEVERITY_WARNING : SEVERITY_INFO, same_label ? k->label : k->subject,
                        same_label ? "two of the user's certificates have the same CKA_LABEL and different subjects"
                                   : "two of the user's certificates have the same subject and different CKA_LABELs");
  const struct exhibit e[] = {
      {&t->label_note, "CKA_LABEL of one certificate"    },
      {&k->label_note, "CKA_LABEL of another certificate"},
  };
  known_show(f, check, e, 2);
}

/* FAQ, Q6: "each certificate label should be unique to the token"; Q5: "By convention, all certificates making up a
 * single personality should have the same label". Certificates of CAs, which are not chosen by their names, may
 * share one. */
void rule_cert_02(struct check *check, const struct call *call)
{
  if (!check->place.slot || model_removal(check->place.slot, call)) return;
  if (call->known == P11_F_C_FindObjects) {
    const struct model_session *s = check->place.session;
    const struct value *list = &call->arg[1].out;
    if (call->rv != CKR_OK || !s || !s->searching || s->search.class != CKO_PRIVATE_KEY || !s->search.id ||
        list->what != VALUE_LIST || !list->count)
      return;
    struct model_object *cert = known_other(check, BY_ID, s->search.id, CKO_CERTIFICATE, NULL);
    if (cert) compare(check, cert, s->search.id);
    return;
  }
  const struct known_news *n = known_learn(check, call);
  if (!n->object) return;
  if (n->known->class == CKO_CERTIFICATE && (n->id || n->label || n->cert)) {
    compare(check, n->object, 0);
  } else if (n->known->class == CKO_PRIVATE_KEY && n->id) {
    struct model_object *cert = known_other(check, BY_ID, n->known->id, CKO_CERTIFICATE, NULL);
    if (cert) compare(check, cert, n->known->id);
  }
}
