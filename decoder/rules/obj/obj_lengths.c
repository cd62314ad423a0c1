/* Lengths of attributes: announced, returned, and those that their type gives. */
#include <inttypes.h>

#include "decoder/rules/obj/obj_help.h"

#define UNAVAILABLE UINT64_MAX

const struct value *obj_answer(const struct call *call)
{
  const struct value *before = &call->arg[2].in, *after = &call->arg[2].out;
  if (call->rv != CKR_OK && call->rv != CKR_ATTRIBUTE_TYPE_INVALID && call->rv != CKR_ATTRIBUTE_SENSITIVE &&
      call->rv != CKR_BUFFER_TOO_SMALL)
    return NULL;
  if (before->what != VALUE_TEMPLATE || after->what != VALUE_TEMPLATE || before->count != after->count) return NULL;
  return after;
}

static bool is_array(uint64_t type)
{
  return type & CKF_ARRAY_ATTRIBUTE;
}

/* --- P11-OBJ-02 --------------------------------------------------------------------------------- */

/* Lengths that C_GetAttributeValue announced; the last few calls that asked. */
struct asked {
  struct note note;
  uint64_t object;
  unsigned count;
  struct {
    uint64_t type, length;
  } attribute[24];
};
struct announced {
  struct asked asked[8];
  unsigned count;
};
static const struct kept_type announced_type = {sizeof(struct announced), NULL};

static void remember(struct check *check, const struct call *call, uint64_t object, const struct value *before,
                     const struct value *after)
{
  struct asked *a = NULL;
  for (size_t i = 0; i < after->count; i++) {
    if (before->item[i].pointer != P11T_P_NULL || after->item[i].length == UNAVAILABLE) continue;
    /* Beside an attribute that is missing: a length of 0 may be one that was not looked at, P11-OBJ-03. */
    if (call->rv != CKR_OK && !after->item[i].length) continue;
    if (!a) {
      struct announced *all = kept_make(&check->place.module->kept, &announced_type);
      a = &all->asked[all->count++ % (sizeof all->asked / sizeof *all->asked)];
      model_note(&check->place, &a->note, call);
      a->object = object;
      a->count = 0;
    }
    if (a->count == sizeof a->attribute / sizeof *a->attribute) return;
    a->attribute[a->count].type = after->item[i].number;
    a->attribute[a->count++].length = after->item[i].length;
  }
}

static void compare(struct check *check, const struct call *call, const struct asked *a, const struct value *before,
                    const struct value *after)
{
  char name[32];
  for (unsigned k = 0; k < a->count; k++) {
    const uint64_t type = a->attribute[k].type, length = a->attribute[k].length;
    for (size_t i = 0; i < after->count; i++) {
      const struct value *now = &after->item[i];
      if (now->number != type || is_array(type) || before->item[i].pointer == P11T_P_NULL ||
          before->item[i].length < length || now->length == length)
        continue;
      if (now->length != UNAVAILABLE && now->length > before->item[i].length) continue; /* P11-OBJ-04 */
      const bool small = now->length == UNAVAILABLE;
      if (small && call->rv != CKR_BUFFER_TOO_SMALL) continue;
      struct finding *f = finding_report(check, SEVERITY_ERROR, small ? 2 : 1,
                                         small ? "a buffer of the announced length is too small"
                                               : "the length that is announced is not the length that is returned");
      finding_note(f, &a->note, "%s: %" PRIu64 " bytes are announced", model_attribute_name(type, name), length);
      if (small)
        finding_call(f, check, "%s: %" PRIu64 " bytes are too little", model_attribute_name(type, name),
                     before->item[i].length);
      else
        finding_call(f, check, "%s: %" PRIu64 " bytes", model_attribute_name(type, name), now->length);
    }
  }
}

/* The standard, C_GetAttributeValue: "if the pValue field has the value NULL_PTR, then the ulValueLen field is modified to
 * hold the exact length of the specified attribute for the object". */
void rule_obj_02(struct check *check, const struct call *call)
{
  const struct value *before = &call->arg[2].in, *after = obj_answer(call);
  uint64_t object;
  if (!after || !pick_in(call, 1, &object) || model_removal(check->place.slot, call)) return;
  const struct announced *all = kept_get(check->place.module->kept, &announced_type);
  const bool whole = call->rv == CKR_OK || call->rv == CKR_BUFFER_TOO_SMALL;
  for (unsigned k = 0; all && whole && k < sizeof all->asked / sizeof *all->asked; k++) {
    const struct asked *a = &all->asked[k];
    if (a->object != object || !a->note.number || a->note.end_number > call->number ||
        !model_objects_still(check->place.module, a->note.number))
      continue;
    compare(check, call, a, before, after);
  }
  remember(check, call, object, before, after);
}

/* --- P11-OBJ-04 --------------------------------------------------------------------------------- */

/* The standard, C_GetAttributeValue, cases 4 and 5: "if the length specified in ulValueLen is large enough [...] the ulValueLen
 * field is modified to hold the exact length of the attribute", "Otherwise, the ulValueLen field is modified to hold the value
 * CK_UNAVAILABLE_INFORMATION", and "the call should return the value CKR_BUFFER_TOO_SMALL". */
void rule_obj_04(struct check *check, const struct call *call)
{
  const struct value *before = &call->arg[2].in, *after = obj_answer(call);
  char name[32], code[24];
  bool marked = false, longer = false;
  if (!after || model_removal(check->place.slot, call)) return;
  for (size_t i = 0; i < after->count; i++) {
    const struct value *was = &before->item[i], *now = &after->item[i];
    marked |= now->length == UNAVAILABLE;
    if (was->pointer == P11T_P_NULL || now->length == UNAVAILABLE || now->length <= was->length) continue;
    longer = true;
    const bool ok = call->rv == CKR_OK;
    struct finding *f = finding_report(check, ok ? SEVERITY_ERROR : SEVERITY_WARNING, ok ? 2 : 3,
                                       ok ? "C_GetAttributeValue returns more bytes than there is room for"
                                          : "an attribute whose buffer is too small is not marked as unavailable");
    finding_call(f, check, "%s: %" PRIu64 " bytes, room for %" PRIu64, model_attribute_name(now->number, name),
                 now->length, was->length);
  }
  if (call->rv != CKR_BUFFER_TOO_SMALL || marked || longer) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, 4,
                                     "C_GetAttributeValue returns %s and marks no attribute", note_rv(call->rv, code));
  finding_call(f, check, NULL);
}

/* --- P11-OBJ-05 --------------------------------------------------------------------------------- */

/* Why the attribute cannot be of its type; NULL: it can. */
static const char *wrong_size(const struct value *a, unsigned word, bool empty_too)
{
  const struct p11_attribute_info *info = p11_attribute(a->number);
  if (!info || is_array(a->number) || a->length == UNAVAILABLE || (!a->length && !empty_too)) return NULL;
  switch (info->kind) {
    case P11_A_BOOL:
      if (a->length != 1) return "no CK_BBOOL";
      return a->count && a->item[0].what == VALUE_NUMBER && a->item[0].number > 1 ? "neither CK_TRUE nor CK_FALSE"
                                                                                  : NULL;
    case P11_A_NUMBER:
    case P11_A_ENUM: return a->length != word ? "no CK_ULONG" : NULL;
    case P11_A_DATE: return a->length && a->length != 8 ? "no CK_DATE" : NULL;
    default: return NULL;
  }
}

/* Of an answer only what has a buffer: the announced length is P11-OBJ-02's. */
static void report_size(struct check *check, const struct value *template, const struct value *before, bool empty_too)
{
  const bool caller = !before;
  const struct finding_options options = {.fault = caller ? FAULT_CALLER : FAULT_MODULE};
  const unsigned word = check->event->process->word_bits == 32 ? 4 : 8;
  char name[32];
  for (size_t i = 0; i < template->count; i++) {
    const struct value *a = &template->item[i];
    if (before && before->item[i].pointer == P11T_P_NULL) continue;
    const char *what = wrong_size(a, word, empty_too);
    if (!what) continue;
    struct finding *f = finding_report_as(
        check, &options, caller || !a->length ? SEVERITY_WARNING : SEVERITY_ERROR, a->number << 1 | !a->length,
        "%s is %s%s", model_attribute_name(a->number, name), caller ? "given as what is " : "", what);
    if (a->length == 1 && a->count && a->item[0].what == VALUE_NUMBER)
      finding_call(f, check, "%s is %" PRIu64, model_attribute_name(a->number, name), a->item[0].number);
    else
      finding_call(f, check, "%s has %" PRIu64 " bytes", model_attribute_name(a->number, name), a->length);
  }
}

/* The standard, general data types: CK_BBOOL is "a byte-sized Boolean flag", CK_ULONG "an unsigned value, at least 32 bits
 * long" of the platform; NSS reads them into variables of these types and does not look at the length (pk11obj.c,
 * PK11_ReadULongAttribute, PK11_HasAttributeSet). */
void rule_obj_05(struct check *check, const struct call *call)
{
  if (call->known == P11_F_C_GetAttributeValue) {
    const struct value *before = &call->arg[2].in, *after = obj_answer(call);
    if (!after || model_removal(check->place.slot, call)) return;
    report_size(check, after, before, call->rv == CKR_OK);
    return;
  }
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_TEMPLATE && call->arg[i].in.what == VALUE_TEMPLATE)
      report_size(check, &call->arg[i].in, NULL, false);
}
