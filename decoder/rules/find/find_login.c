/* Searches while nobody is logged in. */
#include <inttypes.h>

#include "decoder/rules/find/find_help.h"

static bool nobody(const struct model_slot *slot, const struct call *call)
{
  return slot && slot->token.known && slot->token.flags & CKF_LOGIN_REQUIRED && model_logged_out(slot) &&
         model_settled(slot, call) && !model_removal(slot, call);
}

/* Evidence of why nobody is logged in. */
static const struct note *last_end(const struct model_slot *slot)
{
  static const struct note none;
  const struct note *out = &slot->last.logout, *all = &slot->last.all;
  if (out->number || all->number) return out->number > all->number ? out : all;
  return slot->module->initialized.number ? &slot->module->initialized : &none;
}

/* A private object by what was read or given, or by the logout that ended the handle. */
static bool is_private(const struct model_module *m, const struct model_slot *slot, uint64_t handle, uint64_t class)
{
  const struct model_object *o = table_get(&m->objects, handle);
  if (o) return model_number(o, CKA_PRIVATE, 0) == CK_TRUE;
  const struct model_gone *g = model_gone_object(m, slot, handle);
  return g && g->why == GONE_LOGOUT && g->is_private == TRI_YES && class != MODEL_NO_CLASS && g->class == class;
}

static void found_private(struct check *check, const struct call *call, const struct model_session *s)
{
  const struct model_search *q = model_search(s);
  const struct value *list = &call->arg[1].out;
  if (!q || !q->active || q->login != LOGIN_PUBLIC || list->what != VALUE_LIST) return;
  for (size_t i = 0; i < list->count; i++) {
    const uint64_t handle = list->item[i].number;
    if (s->search.is_private != TRI_YES && !is_private(check->place.module, s->slot, handle, s->search.class)) continue;
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, 1, "a search returns a private object while nobody is logged in");
    finding_note(f, last_end(s->slot), NULL);
    finding_note(f, &s->op[OP_FIND].begun, NULL);
    finding_call(f, check, "0x%" PRIx64 " is private", handle);
    return;
  }
}

static bool answered(const struct value *template)
{
  for (size_t i = 0; i < template->count; i++)
    if (template->item[i].length && template->item[i].length != UINT64_MAX) return true;
  return false;
}

/* The standard, C_FindObjectsInit: "an object search in an "R/W Public Session" will not find any private objects (even if
 * one of the attributes in the search template specifies that the search is for private objects)"; storage objects: "When
 * the CKA_PRIVATE attribute is CK_TRUE, a user may not access the object until the user has been authenticated". */
void rule_find_05(struct check *check, const struct call *call)
{
  const struct finding_options dead = {.cause = CAUSE_DEAD_OBJECT};
  struct model_slot *slot = check->place.slot;
  if (!nobody(slot, call)) return;
  if (call->known == P11_F_C_FindObjects) {
    if (call->rv == CKR_OK && check->place.session) found_private(check, call, check->place.session);
    return;
  }
  const struct value *template = pick_template(call);
  uint64_t handle, private = 0;
  if (!template || !pick_in(call, 1, &handle) || !answered(template)) return;
  if (call->rv != CKR_OK && call->rv != CKR_ATTRIBUTE_TYPE_INVALID && call->rv != CKR_ATTRIBUTE_SENSITIVE) return;
  const struct model_object *o = check->place.object;
  /* Handles that a logout ended are P11-OBJ-11's. */
  if (!pick_attribute_number(template, CKA_PRIVATE, &private)) private = o ? model_number(o, CKA_PRIVATE, 0) : 0;
  if (private != CK_TRUE) return;
  struct finding *f = finding_report_as(check, &dead, SEVERITY_ERROR, 2,
                                        "attributes of a private object can be read while nobody is logged in");
  finding_note(f, last_end(slot), NULL);
  if (o) finding_note(f, o->listed.number ? &o->listed : &o->made, "0x%" PRIx64, handle);
  finding_call(f, check, "CKA_PRIVATE is CK_TRUE");
}

/* NSS asks for the PIN when a search for the private key finds nothing or answers CKR_USER_NOT_LOGGED_IN, and for nothing
 * else (pk11cert.c, pk11_FindPrivateKeyFromCertID and others). The standard: "The object search operation will only find
 * objects that the session can view": none is no error. FAQ, Q5: "NSS falls back to looking for the existance of public
 * keys to determine if the token may have the corresponding private key while the token is not logged in." */
void rule_find_06(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  const struct model_session *s = check->place.session;
  const bool init = call->known == P11_F_C_FindObjectsInit;
  char code[24];
  if (call->rv == CKR_OK || !s || find_other_matter(call->rv) || call->rv == CKR_OPERATION_ACTIVE ||
      call->rv == CKR_OPERATION_NOT_INITIALIZED || !nobody(slot, call))
    return;
  if (!init && !find_ends_well(slot)) return; /* P11-FIND-01 */
  const uint64_t class = init           ? model_facts(pick_template(call)).class
                         : s->searching ? s->search.class
                                        : MODEL_NO_CLASS;
  if (class != CKO_PRIVATE_KEY && class != CKO_SECRET_KEY) return;
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, call->rv, "a search for %s keys while nobody is logged in fails with %s",
                     class == CKO_PRIVATE_KEY ? "private" : "secret", note_rv(call->rv, code));
  if (!init) finding_note(f, &s->op[OP_FIND].begun, NULL);
  finding_call(f, check, NULL);
}
