/* Values that must not change by themselves. */
#include <inttypes.h>

#include "decoder/rules/obj/obj_help.h"

static bool is_certificate_value(const struct model_object *o, uint64_t type)
{
  return type == CKA_VALUE && o->facts.class == CKO_CERTIFICATE;
}

/* Cannot be changed while the object lives. */
static bool is_fixed(const struct model_object *o, uint64_t type)
{
  switch (type) {
    case CKA_CLASS:
    case CKA_KEY_TYPE:
    case CKA_CERTIFICATE_TYPE:
    case CKA_TOKEN:
    case CKA_PRIVATE:
    case CKA_MODULUS:
    case CKA_EC_POINT:
    case CKA_UNIQUE_ID: return true;
    default: return is_certificate_value(o, type);
  }
}

/* Is given back as it was written. */
static bool is_stored(const struct model_object *o, uint64_t type)
{
  switch (type) {
    case CKA_ID:
    case CKA_LABEL:
    case CKA_SUBJECT:
    case CKA_ISSUER:
    case CKA_SERIAL_NUMBER: return true;
    default: return is_certificate_value(o, type);
  }
}

/* What the call reads of the object, against what is known of it: calls `differs` for each attribute that is another. */
static void compare(struct check *check, const struct call *call,
                    void differs(struct check *check, const struct model_object *o, const struct model_attribute *was,
                                 const struct model_attribute *now))
{
  const struct model_object *o = check->place.object;
  const struct value *after = o ? obj_answer(call) : NULL;
  if (!after || !o->good || o->good > call->number || model_removal(check->place.slot, call) ||
      !model_objects_still(check->place.module, call->number))
    return;
  for (size_t i = 0; i < after->count; i++) {
    struct model_attribute now;
    const struct model_attribute *was = model_attribute(o, after->item[i].number);
    if (!was || was->source == SOURCE_FOUND || !model_attribute_of(&after->item[i], &now)) continue;
    /* A length alone is no value: NULL buffers. */
    if (now.length && !now.number && !now.scalar) continue;
    if (was->length && !was->number && !was->scalar) continue;
    if (model_same(was, &now) == TRI_NO) differs(check, o, was, &now);
  }
}

static const struct note *origin(const struct model_object *o)
{
  return o->made.number ? &o->made : o->listed.number ? &o->listed : &o->found;
}

static void has_changed(struct check *check, const struct model_object *o, const struct model_attribute *was,
                        const struct model_attribute *now)
{
  char name[32];
  if (!is_fixed(o, was->type) || (was->source == SOURCE_GIVEN && is_stored(o, was->type))) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, was->type, "%s of an object is not what it was",
                                     model_attribute_name(was->type, name));
  finding_note(f, origin(o), was->source == SOURCE_GIVEN ? "0x%" PRIx64 : "0x%" PRIx64 ", read since", o->handle);
  if (was->scalar && now->scalar)
    finding_call(f, check, "%s: 0x%" PRIx64 ", it was 0x%" PRIx64, model_attribute_name(was->type, name), now->number,
                 was->number);
  else
    finding_call(f, check, "%s: other bytes", model_attribute_name(was->type, name));
}

/* The standard, storage objects: "Only the CKA_LABEL attribute can be modified after the object is created", and of an object
 * of a class what its table marks; CKA_UNIQUE_ID: "Any attempt to modify the CKA_UNIQUE_ID attribute of an existing object
 * [...] MUST fail." NSS keeps what it has read (devutil.c). */
void rule_obj_08(struct check *check, const struct call *call)
{
  compare(check, call, has_changed);
}

static void is_not_stored(struct check *check, const struct model_object *o, const struct model_attribute *was,
                          const struct model_attribute *now)
{
  char name[32];
  /* What was left empty the token may fill in. */
  if (!is_stored(o, was->type) || was->source != SOURCE_GIVEN || !was->length || now->length == UINT64_MAX) return;
  const bool cut = was->type == CKA_LABEL && now->length < was->length && now->length;
  struct finding *f = finding_report(check, cut ? SEVERITY_WARNING : SEVERITY_ERROR, was->type,
                                     "%s is read back %s than it was written", model_attribute_name(was->type, name),
                                     cut ? "shorter" : "otherwise");
  finding_note(f, origin(o), "%s: %" PRIu64 " bytes", model_attribute_name(was->type, name), was->length);
  finding_call(f, check, "%s: %" PRIu64 " bytes", model_attribute_name(was->type, name), now->length);
}

static void is_not_found(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct finding_options missing = {.cause = CAUSE_MISSING};
  bool given = false;
  const struct model_object *o = model_search_missed(s, call, NULL);
  while (o && (model_search_matches(s->found, o, &given), !given)) o = model_search_missed(s, call, o);
  if (!o) return;
  struct finding *f = finding_report_as(check, &missing, SEVERITY_ERROR, 1,
                                        "an object is not found by the attributes that were written");
  finding_note(f, origin(o), "0x%" PRIx64, o->handle);
  finding_note(f, &s->op[OP_FIND].begun, NULL);
  finding_note(f, &s->found->last, "the end of the results, without 0x%" PRIx64, o->handle);
}

/* FAQ, Q31: "NSS arranges for the key to have it's CKA_ID set to some value derived from the public key [...]. The certificate
 * is then written to the token where that private key resides, and the certificate's CKA_ID is set to match the private
 * key." */
void rule_obj_09(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  if (call->known == P11_F_C_GetAttributeValue)
    compare(check, call, is_not_stored);
  else if (s && s->found && s->found->active)
    is_not_found(check, call, s);
}
