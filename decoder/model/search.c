/* The search of a session, and what it should have found. */
#include "decoder/model/search.h"

#include <stdlib.h>

#define RECENT 60000000000ull /* ns: an object that was not seen for longer may have been deleted by another process */

const struct model_search *model_search(const struct model_session *session)
{
  return session ? session->found : NULL;
}

const struct model_attribute *model_search_attribute(const struct model_search *search, uint64_t type)
{
  for (unsigned i = 0; search && i < search->attributes; i++)
    if (search->attribute[i].type == type) return &search->attribute[i];
  return NULL;
}

bool model_search_has(const struct model_search *search, uint64_t handle)
{
  for (unsigned i = 0; i < search->kept; i++)
    if (search->handle[i] == handle) return true;
  return false;
}

/* --- taking calls in ---------------------------------------------------------------------------- */

static void begin(const struct call *call, struct model_place *place)
{
  struct model_session *s = place->session;
  const struct value *template = pick_template(call);
  if (!s->found) s->found = model_alloc(sizeof *s->found);
  struct model_search *q = s->found;
  uint64_t count = 0;
  q->active = true;
  q->complete = q->more = q->by_probe = q->failed = false;
  q->login = s->slot->login;
  q->begun = call->number;
  q->results = q->max = 0;
  q->kept = q->attributes = 0;
  q->last = (struct note){0};
  q->whole = pick_in(call, 2, &count) && (template ? template->count == count : !count);
  q->key = q->whole ? 1 : 0;
  for (size_t i = 0; template && i < template->count; i++) {
    struct model_attribute a;
    if (q->attributes == SEARCH_ATTRIBUTES || !model_attribute_of(&template->item[i], &a) ||
        (a.length && !a.number && !a.scalar)) {
      q->whole = false;
      q->key = 0;
      continue;
    }
    q->attribute[q->attributes++] = a;
    if (q->key) q->key = pick_hash((uint64_t[]){q->key, a.type, a.length, a.number}, 4 * sizeof(uint64_t));
  }
}

static void go_on(const struct call *call, struct model_place *place)
{
  struct model_search *q = place->session->found;
  const struct value *list = &call->arg[1].out;
  uint64_t count = 0;
  const bool probe = call_is_probe(call);
  if (!q || !q->active) return;
  if (call->state != CALL_DONE) {
    q->whole = false;
    return;
  }
  if (call->rv != CKR_OK) {
    if (probe) return;
    q->failed = true;
    model_note(place, &q->failure, call);
    return;
  }
  if (!pick_out(call, 3, &count)) {
    q->whole = false;
    return;
  }
  if (q->complete && count) {
    q->more = true;
    q->by_probe = probe;
  }
  if (probe) return;
  pick_in(call, 2, &q->max);
  q->results += count;
  for (size_t i = 0; list->what == VALUE_LIST && i < list->count && q->kept < SEARCH_RESULTS; i++)
    q->handle[q->kept++] = list->item[i].number;
  if (count < q->max) q->complete = true;
  model_note(place, &q->last, call);
}

void model_apply_search(const struct call *call, struct model_place *place)
{
  struct model_session *s = place->session;
  if (!s) return;
  if (call->known == P11_F_C_FindObjectsInit) {
    if (call_returned(call, CKR_OK)) begin(call, place);
  } else if (call->known == P11_F_C_FindObjects) {
    go_on(call, place);
  } else if (s->found) {
    s->found->active = false;
  }
}

/* --- what should be there ----------------------------------------------------------------------- */

bool model_objects_still(const struct model_module *module, uint64_t number)
{
  return !module->making && module->made < number;
}

bool model_login_still(const struct model_slot *slot, uint64_t number)
{
  const struct model_module *m = slot->module;
  return !slot->changing && !m->changing && slot->changed < number && m->changed < number;
}

static uint64_t ended(const struct model_slot *slot)
{
  const uint64_t out = slot->last.logout.number, all = slot->last.all.number;
  return out > all ? out : all;
}

bool model_logged_out(const struct model_slot *slot)
{
  const uint64_t end = ended(slot);
  if (slot->login != LOGIN_PUBLIC) return false;
  return slot->last.login.number <= end && slot->last.so.number <= end;
}

bool model_logged_in(const struct model_slot *slot)
{
  return slot->login == LOGIN_USER && slot->last.login.number > ended(slot);
}

enum model_tri model_search_matches(const struct model_search *search, const struct model_object *object, bool *given)
{
  if (!search->whole) return TRI_UNKNOWN;
  enum model_tri all = TRI_YES;
  bool written = false;
  for (unsigned i = 0; i < search->attributes; i++) {
    const struct model_attribute *wanted = &search->attribute[i], *has = model_attribute(object, wanted->type);
    enum model_tri same = model_same(wanted, has);
    if (!has && wanted->type == CKA_TOKEN && object->facts.token)
      same = object->facts.token == (wanted->number ? TRI_YES : TRI_NO) ? TRI_YES : TRI_NO;
    if (!has && wanted->type == CKA_CLASS && object->facts.class != MODEL_NO_CLASS)
      same = object->facts.class == wanted->number ? TRI_YES : TRI_NO;
    if (same == TRI_NO) return TRI_NO;
    if (same == TRI_UNKNOWN) all = TRI_UNKNOWN;
    if (has && has->source == SOURCE_GIVEN) written = true;
  }
  if (given) *given = written;
  return all;
}

bool model_search_over(const struct model_session *session, const struct call *call)
{
  const struct model_search *q = model_search(session);
  const struct model_slot *slot = session ? session->slot : NULL;
  if (!q || !q->active || !q->complete || q->more || q->failed || !q->whole || q->kept != q->results) return false;
  return !slot->absent && !model_removal(slot, call) && model_objects_still(slot->module, q->begun) &&
         model_login_still(slot, q->begun);
}

/* A private object among the results proves that the module lets the user see them. */
static bool shows_private(const struct model_module *m, const struct model_search *q)
{
  for (unsigned i = 0; i < q->kept; i++) {
    const struct model_object *o = table_get(&m->objects, q->handle[i]);
    if (o && o->facts.is_private == TRI_YES) return true;
  }
  return false;
}

static bool is_there(const struct model_object *o, const struct model_slot *slot, const struct model_search *q,
                     const struct call *call)
{
  if (o->slot != slot || !o->good || o->good > q->begun || call->end > o->good_time + RECENT) return false;
  if (o->facts.token == TRI_YES) return true;
  /* A session object is gone with the session that made it, and that may be being closed. */
  const struct model_session *creator = model_session(slot->module, o->creator);
  return creator && (creator->found == q || (!creator->in_flight && creator->busy_end < q->begun));
}

static struct model_object *next_missed(const struct model_session *session, const struct call *call,
                                        struct model_object *from)
{
  const struct model_search *q = session->found;
  int private = -1;
  unsigned n = 0;
  for (struct model_object *o = from; o && n < SEARCH_MISSED; o = o->older, n++) {
    if (o->slot != session->slot || model_search_matches(q, o, NULL) != TRI_YES) continue;
    if (!is_there(o, session->slot, q, call) || model_search_has(q, o->handle)) continue;
    if (!o->shown_public) {
      if (private < 0) private = model_logged_in(session->slot) && shows_private(session->slot->module, q);
      if (!private) continue;
    }
    return o;
  }
  return NULL;
}

struct model_object *model_search_missed(const struct model_session *session, const struct call *call,
                                         const struct model_object *after)
{
  struct model_search *q = session->found;
  if (after) return next_missed(session, call, after->older);
  if (!model_search_over(session, call)) return NULL;
  /* Several rules ask, and mostly nothing is missing. */
  if (q->looked != call->number) {
    q->looked = call->number;
    q->missed = next_missed(session, call, session->slot->module->newest);
  }
  return q->missed;
}
