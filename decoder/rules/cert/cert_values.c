/* What a certificate says of itself, and what its attributes say. */
#include <inttypes.h>

#include "decoder/rules/key/known.h"

/* --- NSS-CERT-07 -------------------------------------------------------------------------------------------------- */

static void missing(struct check *check, const struct call *call, const struct value *before, const struct value *a)
{
  const struct value *asked = &before->item[a - call->arg[2].out.item];
  if (a->length != 0 && a->length != UINT64_MAX) return;
  /* Where the template was refused nothing may have been written: P11-OBJ-03. */
  if (a->length == 0 && call->rv != CKR_OK) return;
  /* Beside others CK_UNAVAILABLE_INFORMATION may also say that the buffer was too small. */
  if (a->length == UINT64_MAX && asked->pointer != P11T_P_NULL && before->count > 1) return;
  const struct finding_options o = {.cause = CAUSE_ATTRIBUTES};
  char unknown[32];
  const char *name = model_attribute_name(a->number, unknown);
  struct finding *f = finding_report_as(check, &o, a->number == CKA_VALUE ? SEVERITY_ERROR : SEVERITY_WARNING,
                                        a->number, "a certificate has no %s", name);
  finding_call(f, check, "%s is %s", name, a->length ? "not available" : "empty");
}

/* NSS does not take a certificate with something behind it. Such a value is not recorded, but that it is not one DER
 * value. */
static void not_one_value(struct check *check, const struct value *a)
{
  if (!a || !a->length || a->length == UINT64_MAX || !a->count || a->item[0].what != VALUE_BYTES) return;
  const struct value *v = &a->item[0];
  size_t content;
  if (value_is_tagged(v) ? v->shape & P11T_SHAPE_DER
                         : v->form != P11T_V_FULL || der_content(v->bytes, v->kept, 0x30, &content, NULL) != NULL)
    return;
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 2, "CKA_VALUE of a certificate is more or less than one DER value");
  finding_call(f, check, "CKA_VALUE has %" PRIu64 " bytes", a->length);
}

static void differs(struct check *check, const struct known_news *n, const struct value *after, uint64_t type,
                    uint64_t wanted, uint64_t or_this)
{
  struct model_attribute read;
  char unknown[32];
  const struct value *item = pick_attribute(after, type);
  const struct model_attribute *a = model_attribute(n->object, type);
  if (item && model_attribute_of(item, &read) && read.number && !read.tagged)
    a = &read;
  else if (!n->cert || !a || a->source != SOURCE_READ)
    return;
  if (!a->length || a->length == UINT64_MAX || !a->number || a->tagged || !wanted) return;
  if (a->number == wanted || a->number == or_this) return;
  const char *name = model_attribute_name(type, unknown);
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, type << 1, "%s of a certificate is not that of its CKA_VALUE", name);
  finding_note(f, n->known->key_note.number == check->call->number ? &(struct note){0} : &n->known->key_note,
               "the certificate");
  finding_call(f, check, "%s", a == &read ? name : "the certificate");
}

/* NSS reads all of them at once and looks certificates up by each (ckhelper.c,
 * nssCryptokiCertificate_GetAttributes). The standard: CKA_SUBJECT, CKA_ISSUER and CKA_SERIAL_NUMBER are the DER of
 * these fields of CKA_VALUE. */
void rule_cert_07(struct check *check, const struct call *call)
{
  static const uint64_t needed[] = {CKA_VALUE, CKA_SUBJECT, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_CERTIFICATE_TYPE};
  const struct value *before = &call->arg[2].in, *after = &call->arg[2].out;
  const struct model_object *o = check->place.object;
  uint64_t class = o ? o->facts.class : MODEL_NO_CLASS, type = CKC_X_509;
  if (!check->place.slot || after->what != VALUE_TEMPLATE || before->what != VALUE_TEMPLATE) return;
  pick_attribute_number(after, CKA_CLASS, &class);
  /* What the application wrote comes back: NSS-OBJ-09. */
  if (class != CKO_CERTIFICATE || before->count != after->count || (o && o->made.number)) return;
  if (call->rv != CKR_OK && call->rv != CKR_ATTRIBUTE_TYPE_INVALID && call->rv != CKR_ATTRIBUTE_SENSITIVE) return;
  if (model_removal(check->place.slot, call)) return;
  if (!pick_attribute_number(after, CKA_CERTIFICATE_TYPE, &type) && o)
    type = model_number(o, CKA_CERTIFICATE_TYPE, type);
  if (type != CKC_X_509) return;
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    const struct value *a = pick_attribute(after, needed[i]);
    if (a) missing(check, call, before, a);
  }
  not_one_value(check, pick_attribute(after, CKA_VALUE));
  const struct known_news *n = known_learn(check, call);
  if (!n->object || !n->known->der) return;
  const struct x509_facts *f = &n->known->cert;
  if (n->cert && !f->is_certificate) {
    struct finding *finding =
        finding_report(check, SEVERITY_WARNING, 1, "CKA_VALUE of a certificate is no X.509 certificate");
    finding_call(finding, check, "CKA_VALUE");
  }
  differs(check, n, after, CKA_SUBJECT, f->subject, 0);
  differs(check, n, after, CKA_ISSUER, f->issuer, 0);
  /* The number without its DER header is found by NSS's second search: NSS-FIND-09. */
  differs(check, n, after, CKA_SERIAL_NUMBER, f->serial, f->serial_content);
}

/* --- NSS-CERT-09 -------------------------------------------------------------------------------------------------- */

/* FAQ, Q17: "An email address must be included in the attribute of the subject DN or the mail attribute of the
 * subject DN. If the subject DN does not include an email address, the certificate extension subjectAltName must
 * include an email address." Only certificates that say they are for mail: for logging in nobody needs an address. */
void rule_cert_09(struct check *check, const struct call *call)
{
  const struct known_news *n = known_learn(check, call);
  if (!n->object || !n->cert || !n->known->cert.for_mail || n->known->cert.has_mail || n->known->cert.ca) return;
  struct finding *f = finding_report(check, SEVERITY_INFO, n->known->der,
                                     "a certificate is for mail (extendedKeyUsage) and has no e-mail address");
  finding_call(f, check, "emailProtection, and no address in subject and subjectAltName");
}
