/* Session objects: they are there, and live as long as the session that made them. */
#include <inttypes.h>

#include "decoder/model/search.h"
#include "decoder/rules/rules.h"

static void lives_on(struct check *check, const struct call *call)
{
  const struct finding_options o = {.cause = CAUSE_DEAD_OBJECT};
  uint64_t handle;
  int at = pick_kind(call, P11_K_OBJECT);
  if (at < 0) at = pick_kind(call, P11_K_KEY);
  if (at < 0 || !pick_in(call, (unsigned)at, &handle)) return;
  const struct model_gone *gone = model_gone_object(check->place.module, check->place.slot, handle);
  if (!gone || gone->token != TRI_NO || (gone->why != GONE_CREATOR && gone->why != GONE_ALL)) return;
  if (gone->note.end_number > call->number || !gone->made.number) return;
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_WARNING, 1,
                        "%s succeeds with a session object, and the session that made it is closed", call->info->name);
  finding_note(f, &gone->made, NULL);
  finding_note(f, &gone->note, NULL);
  finding_call(f, check, NULL);
}

static bool is_dead(const struct call *call)
{
  return call->rv == CKR_OBJECT_HANDLE_INVALID || call->rv == CKR_KEY_HANDLE_INVALID;
}

static void died(struct check *check, const struct call *call, const struct model_object *o)
{
  const struct finding_options options = {.cause = CAUSE_DEAD_OBJECT};
  struct model_slot *slot = o->slot;
  if (!slot || o->facts.token != TRI_NO || !o->made.number || !o->creator) return;
  const struct model_session *creator = model_session(check->place.module, o->creator);
  const struct note *closed = &slot->last.closed;
  if (!creator || !creator->opened.number || creator->opened.end_number > o->made.number) return;
  if (closed->end_number < o->made.end_number || closed->end_number > call->number || closed->end_number < o->good)
    return;
  if (o->facts.is_private != TRI_NO && slot->last.logout.end_number > o->made.number) return;
  if (!model_objects_still(check->place.module, call->number) || !model_settled(slot, call)) return;
  if (model_removal(slot, call) || slot->gone.end_number > o->made.number) return;
  struct finding *f = finding_report_as(check, &options, SEVERITY_ERROR, 2,
                                        "closing another session has destroyed a session object: %s does not find it",
                                        call->info->name);
  finding_note(f, &creator->opened, "the session of the object");
  finding_note(f, &o->made, NULL);
  finding_note(f, closed, "another session");
  finding_call(f, check, NULL);
}

/* The standard, C_CloseSession: "When a session is closed, all session objects created by the session are destroyed
 * automatically, even if the application has other sessions 'using' the objects": those, and no other. */
void rule_sess_09(struct check *check, const struct call *call)
{
  if (!check->place.session) return;
  if (!check->place.object) {
    if (call->rv == CKR_OK) lives_on(check, call);
  } else if (is_dead(call)) {
    died(check, call, check->place.object);
  }
}

/* Does the slot do symmetric cryptography? A token for private keys only may do without session objects. */
static bool does_symmetric(const struct model_slot *slot)
{
  static const uint64_t type[] = {CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_AES_GCM, CKM_AES_ECB, CKM_DES3_CBC};
  for (size_t i = 0; i < sizeof type / sizeof *type; i++) {
    const struct model_mechanism *m = model_mechanism(slot, type[i]);
    if (m && m->listed) return true;
  }
  return false;
}

static bool is_supported(const struct call *call, const struct model_slot *slot)
{
  const int mechanism = pick_kind(call, P11_K_MECHANISM);
  if (mechanism < 0) return true;
  if (call->arg[mechanism].in.what != VALUE_MECHANISM) return false;
  const struct model_mechanism *m = model_mechanism(slot, call->arg[mechanism].in.number);
  return m && m->listed;
}

/* The session objects of the slot that are known to live. */
static unsigned living(const struct model_module *m, const struct model_slot *slot)
{
  unsigned n = 0;
  for (const struct model_object *o = m->newest; o; o = o->older)
    n += o->slot == slot && o->facts.token == TRI_NO && o->made.number;
  return n;
}

/* Per slot: the last session object that was called inconsistent. There may be other reasons: it counts when the
 * same is taken on the token. */
struct inconsistent {
  struct note note;
  uint64_t class;
  size_t count;
};
static const struct kept_type inconsistent = {sizeof(struct inconsistent), NULL};

static void taken_on_token(struct check *check, const struct call *call, const struct value *template, uint64_t class)
{
  struct model_slot *slot = check->place.slot;
  struct inconsistent *i = kept_get(slot->kept, &inconsistent);
  if (!i || i->note.known != call->known || i->class != class || i->count != template->count) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, CKR_TEMPLATE_INCONSISTENT,
                     "%s refuses a session object with CKR_TEMPLATE_INCONSISTENT, and takes the same on "
                     "the token",
                     call->info->name);
  finding_note(f, &i->note, NULL);
  finding_call(f, check, NULL);
  kept_drop(&slot->kept, &inconsistent);
}

static void refused(struct check *check, const struct call *call, const struct value *template, struct model_slot *slot,
                    uint64_t class)
{
  char unknown[24];
  enum severity severity = does_symmetric(slot) ? SEVERITY_ERROR : SEVERITY_WARNING;
  switch (call->rv) {
    case CKR_SESSION_READ_ONLY:
    case CKR_TOKEN_WRITE_PROTECTED: break;
    case CKR_FUNCTION_NOT_SUPPORTED:
      if (!is_supported(call, slot)) return;
      break;
    case CKR_TEMPLATE_INCONSISTENT: {
      struct inconsistent *i = kept_make(&slot->kept, &inconsistent);
      model_note(&check->place, &i->note, call);
      i->class = class;
      i->count = template->count;
      return;
    }
    case CKR_DEVICE_MEMORY:
      if (living(check->place.module, slot)) severity = SEVERITY_INFO;
      break;
    default: return;
  }
  if (model_removal(slot, call)) return;
  struct finding *f;
  if (severity == SEVERITY_INFO)
    f = finding_report(check, severity, 2, "the token has no room for another session object beside %u",
                       living(check->place.module, slot));
  else
    f = finding_report(check, severity, call->rv, "%s refuses a session object with %s", call->info->name,
                       note_rv(call->rv, unknown));
  finding_call(f, check, NULL);
}

static void on_token(struct check *check, const struct call *call, const struct model_object *o)
{
  uint64_t says;
  if (call->rv != CKR_OK || !o || !o->made.number || o->facts.token != TRI_NO || o->made.known == P11_F_C_CopyObject)
    return;
  if (!pick_attribute_number(pick_template(call), CKA_TOKEN, &says) || !says) return;
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 1, "an object that was made as a session object lies on the token");
  finding_note(f, &o->made, NULL);
  finding_call(f, check, "CKA_TOKEN is true");
}

/* FAQ, Q23: "In general, yes, the token should store temporary session objects. This may not be necessary for
 * 'private key op only' tokens, but this is not guaranteed." Private keys and objects of NSS's own classes are not
 * asked for. */
void rule_sess_11(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  uint64_t n;
  if (call->known == P11_F_C_GetAttributeValue) {
    on_token(check, call, check->place.object);
    return;
  }
  const struct value *template = slot ? pick_template(call) : NULL;
  if (!template) return;
  const bool token = pick_attribute_number(template, CKA_TOKEN, &n) && n;
  if (token == (call->rv != CKR_OK)) return;
  if (!pick_attribute_number(template, CKA_CLASS, &n)) n = CKO_SECRET_KEY;
  if (n != CKO_SECRET_KEY && n != CKO_PUBLIC_KEY && n != CKO_DATA) return;
  if (token)
    taken_on_token(check, call, template, n);
  else
    refused(check, call, template, slot, n);
}
