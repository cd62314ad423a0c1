/* Objects and their attributes. */
#include <inttypes.h>
#include <string.h>

#include "decoder/rules/rules.h"

#define SECOND 1000000000ull
#define UNAVAILABLE UINT64_MAX

/* "CKA_LABEL, CKA_ID": the attributes of that length after the call. */
static void attributes_of(const struct value *after, uint64_t length, char *text, size_t size)
{
  char unknown[32];
  size_t used = 0;
  text[0] = 0;
  for (size_t i = 0; i < after->count; i++)
    if (after->item[i].length == length)
      note_append(text, size, &used, "%s%s", used ? ", " : "", model_attribute_name(after->item[i].number, unknown));
}

static size_t count_of(const struct value *after, uint64_t length)
{
  size_t n = 0;
  for (size_t i = 0; i < after->count; i++) n += after->item[i].length == length;
  return n;
}

/* Was the whole template refused with a code that is for other matters? */
static bool refused_whole(const struct call *call)
{
  return call->rv == CKR_GENERAL_ERROR || call->rv == CKR_FUNCTION_FAILED || call->rv == CKR_TEMPLATE_INCONSISTENT ||
         call->rv == CKR_ATTRIBUTE_VALUE_INVALID;
}

static void remember(struct check *check, const struct call *call, const struct value *before,
                     const struct value *after)
{
  struct model_module *m = check->place.module;
  struct model_partial *p = &m->partial[m->partials++ % (sizeof m->partial / sizeof *m->partial)];
  *p = (struct model_partial){0};
  if (!pick_in(call, 1, &p->object)) return;
  model_note(&check->place, &p->note, call);
  for (size_t i = 0; i < after->count && p->count < sizeof p->attribute / sizeof *p->attribute; i++) {
    p->attribute[p->count].type = after->item[i].number;
    p->attribute[p->count].length = after->item[i].length;
    p->attribute[p->count].room = before->item[i].length;
    p->attribute[p->count++].buffer = before->item[i].pointer != P11T_P_NULL;
  }
}

static void compare(struct check *check, struct model_partial *p, uint64_t type, uint64_t length)
{
  const struct finding_options o = {.cause = CAUSE_ATTRIBUTES};
  const bool whole = p->note.rv != CKR_ATTRIBUTE_TYPE_INVALID && p->note.rv != CKR_ATTRIBUTE_SENSITIVE;
  char unknown[32], code[24];
  for (unsigned i = 0; i < p->count; i++) {
    if (p->attribute[i].type != type) continue;
    const char *name = model_attribute_name(type, unknown);
    struct finding *f = NULL;
    if (whole) {
      f = finding_report_as(check, &o, SEVERITY_WARNING, 5 | type << 3,
                            "a template with %s is refused with %s; it can be read alone", name,
                            note_rv(p->note.rv, code));
    } else if (p->attribute[i].length == UNAVAILABLE) {
      /* Case 5 of the standard: a buffer that is too small is marked too, and any of the codes may be returned. */
      if (p->attribute[i].buffer && p->attribute[i].room < length) continue;
      f = finding_report_as(check, &o, SEVERITY_ERROR, 3 | type << 3, "%s was marked as unavailable and can be read",
                            name);
    } else if (p->attribute[i].length != length) {
      f = finding_report_as(check, &o, SEVERITY_ERROR, 4 | type << 3,
                            "%s was not answered beside an attribute that is missing: length %" PRIu64
                            ", alone %" PRIu64,
                            name, p->attribute[i].length, length);
    }
    finding_note(f, &p->note, "%s: length %" PRId64, name, (int64_t)p->attribute[i].length);
    finding_call(f, check, "%s: length %" PRIu64, name, length);
  }
}

/* More than there is room for is no answer: P11-OBJ-04. */
static bool answers(const struct value *before, const struct value *after)
{
  return before->pointer == P11T_P_NULL || after->length <= before->length;
}

/* What the same thread read of the same object within a second before, and did not get: NSS reads again one by one. */
static void look_back(struct check *check, const struct call *call, const struct value *before,
                      const struct value *after)
{
  struct model_module *m = check->place.module;
  const struct model_slot *slot = check->place.slot;
  uint64_t object;
  if (!pick_in(call, 1, &object)) return;
  for (unsigned k = 0; k < sizeof m->partial / sizeof *m->partial; k++) {
    struct model_partial *p = &m->partial[k];
    if (!p->note.number || p->object != object || p->note.tid != call->tid || call->start > p->note.end + SECOND)
      continue;
    /* A login between the two may have made it readable. */
    if (m->changing || m->changed > p->note.number || (slot && (slot->changing || slot->changed > p->note.number)))
      continue;
    for (size_t i = 0; i < after->count; i++)
      if (after->item[i].length != UNAVAILABLE && answers(&before->item[i], &after->item[i]))
        compare(check, p, after->item[i].number, after->item[i].length);
  }
}

static void forget(struct model_module *m, uint64_t object)
{
  for (unsigned k = 0; k < sizeof m->partial / sizeof *m->partial; k++)
    if (m->partial[k].object == object) m->partial[k] = (struct model_partial){0};
}

/* The standard, C_GetAttributeValue: an attribute that is sensitive, or that the object does not possess, has its ulValueLen
 * "modified to hold the value CK_UNAVAILABLE_INFORMATION"; "the call MUST nonetheless have processed every attribute in the
 * template"; "Only if none of them applies to any of the requested attributes will CKR_OK be returned." */
void rule_obj_03(struct check *check, const struct call *call)
{
  uint64_t object;
  if (call->known != P11_F_C_GetAttributeValue) {
    if (pick_in(call, 1, &object)) forget(check->place.module, object);
    return;
  }
  const struct value *before = &call->arg[2].in, *after = &call->arg[2].out;
  if (before->what != VALUE_TEMPLATE || after->what != VALUE_TEMPLATE || !after->count || before->count != after->count)
    return;
  if (model_removal(check->place.slot, call)) return;
  const struct finding_options o = {.cause = CAUSE_ATTRIBUTES};
  const size_t marked = count_of(after, UNAVAILABLE);
  const bool answered = call->rv == CKR_ATTRIBUTE_TYPE_INVALID || call->rv == CKR_ATTRIBUTE_SENSITIVE;
  struct finding *f = NULL;
  char names[200], code[24];
  if (call->rv == CKR_OK && marked) {
    attributes_of(after, UNAVAILABLE, names, sizeof names);
    f = finding_report_as(check, &o, SEVERITY_ERROR, 1,
                          "C_GetAttributeValue marks attributes as unavailable and returns CKR_OK");
    finding_call(f, check, "%s marked CK_UNAVAILABLE_INFORMATION", names);
  } else if (answered && !marked) {
    attributes_of(after, 0, names, sizeof names);
    f = finding_report_as(check, &o, *names ? SEVERITY_WARNING : SEVERITY_ERROR, 2,
                          "C_GetAttributeValue returns %s and marks no attribute as unavailable",
                          note_rv(call->rv, code));
    finding_call(f, check, *names ? "%s: length 0" : "no attribute is marked%s", names);
  }
  if (call->rv == CKR_OK)
    look_back(check, call, before, after);
  else if (answered || (refused_whole(call) && after->count > 1))
    remember(check, call, before, after);
}
