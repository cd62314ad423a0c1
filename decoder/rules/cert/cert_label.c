/* Certificates. */
#include <inttypes.h>
#include <string.h>

#include "decoder/check/text.h"
#include "decoder/rules/rules.h"

/* What is wrong with a label that is not empty, NULL when nothing. */
static const char *label_fault(const uint8_t *label, size_t length)
{
  size_t where;
  switch (label[length - 1]) {
    case ' ': return "ends in a blank";
    case 0: return "ends in a NUL";
    case '\t': return "ends in a tab";
    case '\n':
    case '\r': return "ends in a line end";
    default: return text_check(label, length, &where) == TEXT_NOT_UTF8 ? "is no UTF-8" : NULL;
  }
}

static bool written_by_caller(const struct model_slot *slot, uint64_t label)
{
  const unsigned room = sizeof slot->rule.label / sizeof *slot->rule.label;
  for (unsigned i = 0; i < room && i < slot->rule.labels; i++)
    if (slot->rule.label[i] == label) return true;
  return false;
}

/* The application writes a label: what is wrong with it is the caller's fault, now and when it is read again. */
static void label_written(struct check *check, struct model_slot *slot, const uint8_t *label, size_t length)
{
  const char *fault = length ? label_fault(label, length) : NULL;
  if (!fault) return;
  const uint64_t hash = pick_hash(label, length);
  if (!written_by_caller(slot, hash))
    slot->rule.label[slot->rule.labels++ % (sizeof slot->rule.label / sizeof *slot->rule.label)] = hash;
  const struct finding_options o = {.fault = FAULT_CALLER};
  char text[300];
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, hash,
                                        "the application gives a certificate a CKA_LABEL that %s", fault);
  finding_call(f, check, "CKA_LABEL = \"%s\"", show_bytes(label, length, text, sizeof text));
}

/* Nobody's certificates: of a module of root certificates, which NSS does not find by their names. nssckbi itself has a NUL
 * behind each label. */
static bool of_nobody(const struct model_slot *slot)
{
  return !slot->keys && !(slot->token.known && slot->token.flags & CKF_LOGIN_REQUIRED);
}

static void label_read(struct check *check, struct model_slot *slot, const uint8_t *label, size_t length)
{
  const char *fault = label_fault(label, length);
  const uint64_t hash = pick_hash(label, length);
  if (!fault || written_by_caller(slot, hash)) return;
  const struct finding_options o = {.cause = CAUSE_ATTRIBUTES};
  char text[300];
  const bool nobody = of_nobody(slot);
  struct finding *f = finding_report_as(check, &o, nobody ? SEVERITY_INFO : SEVERITY_WARNING, nobody ? 1 : hash,
                                        "CKA_LABEL of a certificate %s", fault);
  finding_call(f, check, "CKA_LABEL = \"%s\"", show_bytes(label, length, text, sizeof text));
}

/* Certificates without a label that turn out to be the user's: the private key with that CKA_ID is there. */
static void key_appears(struct check *check, struct model_slot *slot, uint64_t id)
{
  struct model_module *m = check->place.module;
  if (model_has_key(slot, id)) return;
  for (struct model_object *o = m->newest; o; o = o->older) {
    if (o->slot != slot || o->facts.id != id || !o->nameless.number) continue;
    const struct finding_options same = {.same = true};
    struct finding *f =
        finding_report_as(check, &same, SEVERITY_ERROR, o->handle, "a user certificate has no CKA_LABEL");
    finding_note(f, &o->nameless, "a certificate without CKA_LABEL");
    finding_call(f, check, "the token has its private key (equal CKA_ID)");
  }
}

static void label_missing(struct check *check, struct model_slot *slot, uint64_t handle, uint64_t id)
{
  const struct finding_options o = {.cause = CAUSE_ATTRIBUTES};
  const bool user = id && model_has_key(slot, id);
  struct finding *f =
      finding_report_as(check, &o, user ? SEVERITY_ERROR : SEVERITY_INFO, handle,
                        user ? "a user certificate has no CKA_LABEL" : "a certificate has no CKA_LABEL");
  finding_call(f, check, user ? "the token has its private key (equal CKA_ID)" : NULL);
  if (finding_explained(check, CAUSE_ATTRIBUTES)) return; /* then it is not known whether the label is missing */
  struct model_object *object = model_object_make(check->place.module, handle, slot);
  model_note(&check->place, &object->nameless, check->call);
}

static void values_read(struct check *check, const struct call *call, struct model_slot *slot)
{
  const struct value *before = &call->arg[2].in, *after = &call->arg[2].out;
  const struct model_facts said = model_facts(after);
  const struct model_object *object = check->place.object;
  uint64_t class = said.class, id = said.id, handle;
  if (class == MODEL_NO_CLASS && object) class = object->facts.class;
  if (!id && object) id = object->facts.id;
  if (class == CKO_PRIVATE_KEY && said.id) key_appears(check, slot, said.id);
  const struct value *label = pick_attribute(after, CKA_LABEL);
  if (class != CKO_CERTIFICATE || !label || before->count != after->count || !pick_in(call, 1, &handle)) return;
  size_t length;
  const uint8_t *bytes = pick_bytes(label, &length);
  if (bytes && length) {
    label_read(check, slot, bytes, length);
    if (object) check->place.object->nameless = (struct note){0};
    return;
  }
  /* A length asked with a buffer may be missing because that was too small. */
  const bool asked_length = before->item[label - after->item].pointer == P11T_P_NULL;
  if (label->length == 0 || (label->length == UINT64_MAX && asked_length)) label_missing(check, slot, handle, id);
}

/* FAQ, Q6: "each user certificate must have some label associated with it. [...] Labels should not have any trailing blank
 * characters." Without one NSS calls it after its key, or "Cert ID xxxx" (pk11cert.c, pk11_buildNickname). A CA's certificate
 * is found by its subject, so there it is only said. */
void rule_cert_01(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  const struct value *template = pick_template(call);
  const struct model_session *session = check->place.session;
  size_t length;
  if (!slot || model_removal(slot, call)) return;
  switch (call->known) {
    case P11_F_C_FindObjects:
      if (call->rv == CKR_OK && session && session->searching && session->search.class == CKO_PRIVATE_KEY &&
          session->search.id && call->arg[1].out.what == VALUE_LIST && call->arg[1].out.count)
        key_appears(check, slot, session->search.id);
      return;
    case P11_F_C_GetAttributeValue:
      if (template &&
          (call->rv == CKR_OK || call->rv == CKR_ATTRIBUTE_TYPE_INVALID || call->rv == CKR_ATTRIBUTE_SENSITIVE))
        values_read(check, call, slot);
      return;
    default: {
      const struct model_facts facts = model_facts(template);
      const struct model_object *o = call->known == P11_F_C_SetAttributeValue ? check->place.object : NULL;
      const uint8_t *label = pick_bytes(pick_attribute(template, CKA_LABEL), &length);
      if (call->rv == CKR_OK && label && (facts.class == CKO_CERTIFICATE || (o && o->facts.class == CKO_CERTIFICATE)))
        label_written(check, slot, label, length);
    }
  }
}
