/* What is asked for in searches and reads: kinds of objects that the token may not know, and encodings. */
#include <inttypes.h>
#include <string.h>

#include "decoder/rules/find/find_help.h"

/* --- NSS-FIND-04: what a token does not know ------------------------------------------------------- */

static bool new_class(uint64_t class)
{
  return class == CKO_PROFILE || class == CKO_VALIDATION || class == CKO_TRUST || class >= CKO_VENDOR_DEFINED;
}

/* The first class or attribute that not every token knows, as a name; NULL none. */
static const char *unknown_of(const struct value *template, char text[32])
{
  for (size_t i = 0; template && i < template->count; i++) {
    const struct value *a = &template->item[i];
    if (a->number >= CKA_VENDOR_DEFINED) return model_attribute_name(a->number, text);
    if (a->number != CKA_CLASS || !a->count || a->item[0].what != VALUE_NUMBER || !new_class(a->item[0].number))
      continue;
    const char *name = p11_constant_name(P11_DOM_CKO, a->item[0].number);
    if (name) return name;
    snprintf(text, 32, "CKO_0x%" PRIx64, a->item[0].number);
    return text;
  }
  return NULL;
}

static const char *unknown_in_search(const struct model_search *q, char text[32])
{
  for (unsigned i = 0; q && q->active && i < q->attributes; i++) {
    const struct model_attribute *a = &q->attribute[i];
    if (a->type >= CKA_VENDOR_DEFINED) return model_attribute_name(a->type, text);
    if (a->type != CKA_CLASS || !new_class(a->number)) continue;
    const char *name = p11_constant_name(P11_DOM_CKO, a->number);
    return name ? name : "a vendor's class";
  }
  return NULL;
}

/* Codes that say that the object, class or attribute is not known here. */
static bool says_unknown(uint64_t rv)
{
  switch (rv) {
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_ACTION_PROHIBITED:
    case CKR_BUFFER_TOO_SMALL:
    case CKR_DATA_INVALID:
    case CKR_DATA_LEN_RANGE:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_TEMPLATE_INCOMPLETE:
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_SESSION_READ_ONLY:
    case CKR_TOKEN_WRITE_PROTECTED: return true;
    /* Of objects and operations. */
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_OPERATION_ACTIVE:
    case CKR_OPERATION_NOT_INITIALIZED: return true;
    default: return false;
  }
}

static void root_list(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct model_slot *slot = s->slot;
  uint64_t count;
  if (!s->searching || s->search.class != CKO_NSS_BUILTIN_ROOT_LIST || !pick_out(call, 3, &count) || !count) return;
  const bool login = slot->token.known && slot->token.flags & CKF_LOGIN_REQUIRED;
  if (!login && !slot->keys) return; /* libnssckbi and p11-kit-trust are such modules */
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 1, "a token with keys says that it has NSS's list of root certificates");
  if (login) finding_note(f, &slot->token.note, "CKF_LOGIN_REQUIRED");
  finding_note(f, &s->op[OP_FIND].begun, "CKO_NSS_BUILTIN_ROOT_LIST");
  finding_call(f, check, NULL);
}

/* NSS looks for profiles, trust, revocation lists, e-mail addresses and root lists on every token (pk11slot.c,
 * PK11_InitToken; devtoken.c). The standard, C_FindObjectsInit: "if it is given a search template with nonexistent
 * attributes in it, it can return CKR_ATTRIBUTE_TYPE_INVALID, or it can initialize a search operation which will match no
 * objects and return CKR_OK." */
void rule_find_04(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const bool next = call->known == P11_F_C_FindObjects;
  char text[32], code[24];
  if (call->rv == CKR_OK) {
    if (next && s && s->searching && model_alone(s, call)) root_list(check, call, s);
    return;
  }
  if (says_unknown(call->rv) || find_other_matter(call->rv) || model_removal(check->place.slot, call)) return;
  if (next && !find_ends_well(check->place.slot)) return;
  const struct value *template = call->known == P11_F_C_GetAttributeValue ? &call->arg[2].in : pick_template(call);
  const char *name = next ? unknown_in_search(model_search(s), text) : unknown_of(template, text);
  if (!name) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, pick_hash(name, strlen(name)) ^ (uint64_t)call->known,
                                     "%s with %s fails with %s", call->info->name, name, note_rv(call->rv, code));
  if (next && s) finding_note(f, &s->op[OP_FIND].begun, NULL);
  finding_call(f, check, NULL);
}

/* --- NSS-FIND-09: DER serial numbers, labels without NUL -------------------------------------------- */

/* The last searches of a slot that found nothing, as far as NSS tries them again in another form. */
struct form {
  uint64_t type; /* CKA_LABEL or CKA_SERIAL_NUMBER; 0: none */
  uint64_t length, hash;
  struct note begun, last;
};
struct forms {
  struct form form[4];
  unsigned count;
};
static const struct kept_type forms_type = {sizeof(struct forms), NULL};
/* Of a session: the search at hand is the second try of that one. */
static const struct kept_type retry_type = {sizeof(struct form), NULL};

/* Hash of the value in the form that NSS tries first, for the form that it tries second; 0: it is not the second. */
static uint64_t first_form(uint64_t type, const uint8_t *bytes, size_t length, uint64_t *first_length)
{
  uint8_t der[2 + 127];
  if (type == CKA_LABEL) {
    if (length < 2 || bytes[length - 1]) return 0;
    *first_length = length - 1;
    return pick_hash(bytes, length - 1);
  }
  if (!length || length > 127) return 0;
  der[0] = 0x02;
  der[1] = (uint8_t)length;
  memcpy(der + 2, bytes, length);
  *first_length = length + 2;
  return pick_hash(der, length + 2);
}

static void search_begins(struct check *check, const struct call *call, struct model_session *s)
{
  static const uint64_t types[] = {CKA_LABEL, CKA_SERIAL_NUMBER};
  const struct value *template = pick_template(call);
  uint64_t class, length = 0;
  size_t n;
  kept_drop(&s->kept, &retry_type);
  const struct forms *empty = kept_get(s->slot->kept, &forms_type);
  if (!empty || call->rv != CKR_OK) return;
  if (pick_attribute_number(template, CKA_CLASS, &class) && class != CKO_CERTIFICATE) return;
  for (unsigned t = 0; t < 2; t++) {
    const uint8_t *bytes = pick_bytes(pick_attribute(template, types[t]), &n);
    const uint64_t hash = bytes ? first_form(types[t], bytes, n, &length) : 0;
    for (unsigned i = 0; hash && i < sizeof empty->form / sizeof *empty->form; i++) {
      const struct form *f = &empty->form[i];
      if (f->type != types[t] || f->hash != hash || f->length != length || f->last.tid != call->tid) continue;
      if (!model_objects_still(check->place.module, f->begun.number) || !model_login_still(s->slot, f->begun.number))
        continue;
      *(struct form *)kept_make(&s->kept, &retry_type) = *f;
      return;
    }
  }
}

static void search_finds(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct form *first = kept_get(s->kept, &retry_type);
  uint64_t count;
  if (!first || !pick_out(call, 3, &count) || !count) return;
  const bool label = first->type == CKA_LABEL;
  struct finding *f = finding_report(
      check, SEVERITY_WARNING, label ? 1 : 2,
      label ? "a certificate is found only by a CKA_LABEL that ends in a NUL"
            : "a certificate is found only by the bare bytes of its serial number, not by the DER INTEGER");
  finding_note(f, &first->begun,
               label ? "CKA_LABEL of %" PRIu64 " bytes" : "CKA_SERIAL_NUMBER of %" PRIu64 " bytes, DER", first->length);
  finding_note(f, &first->last, "nothing is found");
  finding_note(f, &s->op[OP_FIND].begun,
               label ? "CKA_LABEL of %" PRIu64 " bytes, the last one NUL" : "CKA_SERIAL_NUMBER of %" PRIu64 " bytes",
               label ? first->length + 1 : first->length - 2);
  finding_call(f, check, NULL);
}

static void search_ends(const struct call *call, const struct model_session *s)
{
  const struct model_search *q = model_search(s);
  if (!model_search_over(s, call) || q->results) return;
  const struct model_attribute *class = model_search_attribute(q, CKA_CLASS);
  if (class && class->number != CKO_CERTIFICATE) return;
  const struct model_attribute *a = model_search_attribute(q, CKA_SERIAL_NUMBER);
  if (!a) a = model_search_attribute(q, CKA_LABEL);
  if (!a || !a->length || !a->number || a->tagged) return;
  struct forms *empty = kept_make(&s->slot->kept, &forms_type);
  empty->form[empty->count++ % (sizeof empty->form / sizeof *empty->form)] =
      (struct form){a->type, a->length, a->number, s->op[OP_FIND].begun, q->last};
}

static void serial_read(struct check *check, const struct call *call)
{
  const struct finding_options caller = {.fault = FAULT_CALLER};
  const struct model_object *o = check->place.object;
  const struct value *template = pick_template(call);
  const struct value *serial = pick_attribute(template, CKA_SERIAL_NUMBER);
  uint64_t class = o ? o->facts.class : MODEL_NO_CLASS;
  size_t n;
  const uint8_t *bytes = serial ? pick_bytes(serial, &n) : NULL;
  if (!bytes || !n || call->rv != CKR_OK) return;
  pick_attribute_number(template, CKA_CLASS, &class);
  if (class != CKO_CERTIFICATE) return;
  if (n >= 3 && bytes[0] == 0x02 && (bytes[1] == n - 2 || bytes[1] & 0x80)) return;
  struct model_attribute now;
  const struct model_attribute *before = model_attribute(o, CKA_SERIAL_NUMBER);
  const bool own = before && before->source == SOURCE_GIVEN && model_attribute_of(serial, &now) &&
                   model_same(before, &now) == TRI_YES;
  struct finding *f = finding_report_as(check, own ? &caller : &(struct finding_options){0}, SEVERITY_WARNING, 3,
                                        "CKA_SERIAL_NUMBER of a certificate is not a DER INTEGER");
  if (own) finding_note(f, &o->made, "the application wrote it so");
  finding_call(f, check, "%zu bytes, the first one 0x%02x", n, bytes[0]);
}

/* NSS looks for a serial number as DER and again as bare bytes, for a label as it is and again with a NUL (devtoken.c,
 * nssToken_FindCertificateByIssuerAndSerialNumber, nssToken_FindObjectsByNickname). FAQ, Q5: "S/MIME-capable certificates are
 * also looked up by issuer/serial number." The standard: CKA_SERIAL_NUMBER is the "DER-encoding of the certificate serial
 * number", and a label has no end mark. */
void rule_find_09(struct check *check, const struct call *call)
{
  struct model_session *s = check->place.session;
  if (call->known == P11_F_C_GetAttributeValue) {
    serial_read(check, call);
    return;
  }
  if (!s || !model_alone(s, call) || model_removal(s->slot, call)) return;
  if (call->known == P11_F_C_FindObjectsInit)
    search_begins(check, call, s);
  else if (call->known == P11_F_C_FindObjectsFinal)
    search_ends(call, s);
  else if (call->rv == CKR_OK)
    search_finds(check, call, s);
}
