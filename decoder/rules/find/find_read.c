/* What was found can be read. */
#include <inttypes.h>

#include "decoder/rules/find/find_help.h"

#define SOON 5000000000ull

static bool is_key(const struct model_object *o)
{
  return o->facts.class == CKO_PRIVATE_KEY || o->facts.class == CKO_PUBLIC_KEY || o->facts.class == CKO_SECRET_KEY;
}

static bool cannot_say_token(const struct call *call)
{
  const struct value *before = pick_attribute(&call->arg[2].in, CKA_TOKEN);
  const struct value *after = pick_attribute(&call->arg[2].out, CKA_TOKEN);
  if (!before || !after || (before->pointer != P11T_P_NULL && before->length < 1)) return false;
  return after->length == UINT64_MAX || !after->length;
}

/* The object is there, nobody has destroyed it, logged out, closed a session or pulled the token since the search. */
static bool should_be_there(const struct model_object *o, const struct model_slot *slot, const struct call *call)
{
  const uint64_t since = o->listed.number;
  if (!since || call->start > o->listed.end + SOON || o->listed.end_number > call->number) return false;
  return model_objects_still(slot->module, since) && model_login_still(slot, since) &&
         slot->last.closed.number < since && !model_removal(slot, call);
}

/* NSS reads CKA_TOKEN and CKA_LABEL of each object that it found, and drops the whole list when one of them fails
 * (devutil.c, nssCryptokiObject_Create; devtoken.c, create_objects_from_handles). FAQ, Q4: "Other certificates on the token
 * are also loaded (to allow building certificate chains)". */
void rule_find_08(struct check *check, const struct call *call)
{
  const struct finding_options dead = {.cause = CAUSE_DEAD_OBJECT}, attributes = {.cause = CAUSE_ATTRIBUTES};
  const struct model_object *o = check->place.object;
  const struct model_slot *slot = check->place.slot;
  char code[24];
  struct finding *f = NULL;
  if (!o || !slot || o->slot != slot || !o->listed.number) return;
  const bool refused = call->rv == CKR_OBJECT_HANDLE_INVALID || call->rv == CKR_DEVICE_ERROR;
  const bool nameless =
      !refused && !is_key(o) && cannot_say_token(call) &&
      (call->rv == CKR_OK || call->rv == CKR_ATTRIBUTE_TYPE_INVALID || call->rv == CKR_ATTRIBUTE_SENSITIVE);
  if ((!refused && !nameless) || !should_be_there(o, slot, call)) return;
  if (refused)
    f = finding_report_as(check, &dead, SEVERITY_ERROR, call->rv, "an object that a search returned cannot be read: %s",
                          note_rv(call->rv, code));
  else
    f = finding_report_as(check, &attributes, SEVERITY_ERROR, 1,
                          "an object that a search returned does not say whether it is a token object");
  if (o->listed_of > 1)
    finding_note(f, &o->listed, "0x%" PRIx64 ", one of %" PRIu64 ": NSS gives up all of them", o->handle, o->listed_of);
  else
    finding_note(f, &o->listed, "0x%" PRIx64, o->handle);
  finding_call(f, check, refused ? NULL : "CKA_TOKEN is not there");
}
