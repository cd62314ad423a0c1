/* What a search returns, and what it leaves out. */
#include <inttypes.h>

#include "decoder/rules/find/find_help.h"

#define MINUTE 60000000000ull

/* --- NSS-FIND-03: an array that is not full means the end ------------------------------------------ */

/* The last completed searches of a slot. */
struct past {
  uint64_t key, results, max;
  bool user;
  unsigned generation;
  struct note begun, last;
};
struct pasts {
  struct past past[8];
  unsigned count;
};
static const struct kept_type pasts_type = {sizeof(struct pasts), NULL};

static void more_after_the_end(struct check *check, const struct call *call, const struct model_session *s,
                               const struct model_search *q)
{
  const struct finding_options missing = {.cause = CAUSE_MISSING};
  uint64_t count;
  if (!q->complete || q->failed || !pick_out(call, 3, &count) || !count) return;
  if (!model_objects_still(check->place.module, q->begun)) return;
  struct finding *f =
      finding_report_as(check, &missing, SEVERITY_ERROR, 1,
                        "C_FindObjects leaves room in the array and returns more objects in the next call");
  finding_note(f, &s->op[OP_FIND].begun, NULL);
  finding_note(f, &q->last, "room for %" PRIu64 ": for NSS the search is over", q->max);
  finding_call(
      f, check,
      check->probe ? "asked by the recorder: an object that NSS does not learn of" : "and yet there was one more");
}

static bool same_login(const struct model_slot *slot, const struct past *p)
{
  return p->generation == slot->generation && model_login_still(slot, p->begun.number) &&
         (p->user ? model_logged_in(slot) : model_logged_out(slot));
}

/* The same search, with the same objects and login, found less. */
static void compare_past(struct check *check, const struct call *call, const struct model_session *s,
                         const struct model_search *q)
{
  const struct finding_options missing = {.cause = CAUSE_MISSING};
  struct model_slot *slot = s->slot;
  const bool user = model_logged_in(slot);
  if (!q->key || (!user && !model_logged_out(slot))) return;
  struct pasts *all = kept_make(&slot->kept, &pasts_type);
  struct past *mine = NULL;
  for (unsigned i = 0; i < sizeof all->past / sizeof *all->past; i++)
    if (all->past[i].key == q->key) mine = &all->past[i];
  if (mine && mine->results && mine->results < mine->max && mine->results < q->results && same_login(slot, mine) &&
      model_objects_still(slot->module, mine->begun.number) && call->start < mine->last.end + MINUTE) {
    struct finding *f = finding_report_as(check, &missing, SEVERITY_WARNING, 2,
                                          "a search that left room in the array finds more when it is made again");
    finding_note(f, &mine->last, "%" PRIu64 " objects in all, room for %" PRIu64, mine->results, mine->max);
    finding_note(f, &s->op[OP_FIND].begun, "the same template");
    finding_note(f, &q->last, "%" PRIu64 " objects in all", q->results);
    finding_hint(f, "another process may have created objects");
  }
  if (!mine) mine = &all->past[all->count++ % (sizeof all->past / sizeof *all->past)];
  *mine = (struct past){q->key, q->results, q->max, user, slot->generation, s->op[OP_FIND].begun, q->last};
}

/* NSS takes fewer handles than it has room for as the end of the search (devtoken.c, find_objects; pk11obj.c). FAQ, Q5: "NSS
 * may enumerate all the permanment certificates in a token"; the standard, C_FindObjects: "If there are no more objects
 * matching the template, then the location that pulObjectCount points to receives the value 0." */
void rule_find_03(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const struct model_search *q = model_search(s);
  if (!q || !q->active || call->rv != CKR_OK || !model_alone(s, call) || model_removal(s->slot, call)) return;
  if (call->known == P11_F_C_FindObjects)
    more_after_the_end(check, call, s, q);
  else if (model_search_over(s, call))
    compare_past(check, call, s, q);
}

/* --- P11-FIND-07: only what matches, all that matches ----------------------------------------------- */

static void report_list(struct check *check, const struct model_session *s, unsigned key, const char *sentence,
                        uint64_t handle)
{
  struct finding *f = finding_report(check, SEVERITY_ERROR, key, "%s", sentence);
  finding_note(f, &s->op[OP_FIND].begun, NULL);
  if (handle)
    finding_call(f, check, "0x%" PRIx64, handle);
  else
    finding_call(f, check, NULL);
}

static bool twice(const struct value *list, size_t index, const struct model_search *q)
{
  for (size_t i = 0; i < index; i++)
    if (list->item[i].number == list->item[index].number) return true;
  return model_search_has(q, list->item[index].number);
}

static void compare_object(struct check *check, const struct model_session *s, const struct model_search *q,
                           uint64_t handle)
{
  const struct model_object *o = table_get(&check->place.module->objects, handle);
  char name[32];
  if (!o || o->slot != s->slot) return;
  for (unsigned i = 0; i < q->attributes; i++) {
    const struct model_attribute *wanted = &q->attribute[i], *has = model_attribute(o, wanted->type);
    /* What was only written is NSS-OBJ-09's; what cannot be shown may match nevertheless. */
    if (!has || has->source == SOURCE_GIVEN || model_same(wanted, has) != TRI_NO) continue;
    struct finding *f = finding_report(check, SEVERITY_ERROR, 16 | wanted->type << 8,
                                       "a search returns an object whose %s is not the one that was asked for",
                                       model_attribute_name(wanted->type, name));
    const bool read = has->source == SOURCE_READ;
    finding_note(f, o->made.number ? &o->made : &o->listed,
                 read ? "0x%" PRIx64 " was read with another %s since" : "0x%" PRIx64 " was returned for another %s",
                 handle, model_attribute_name(wanted->type, name));
    finding_note(f, &s->op[OP_FIND].begun, NULL);
    finding_call(f, check, "0x%" PRIx64, handle);
    return;
  }
}

static void returned(struct check *check, const struct call *call, const struct model_session *s,
                     const struct model_search *q)
{
  const struct value *list = &call->arg[1].out;
  uint64_t room, count;
  if (!pick_in(call, 2, &room) || !pick_out(call, 3, &count)) return;
  if (count > room) report_list(check, s, 1, "C_FindObjects returns more handles than there is room for", 0);
  const bool still = model_objects_still(check->place.module, q->begun);
  for (size_t i = 0; list->what == VALUE_LIST && i < list->count; i++) {
    const uint64_t handle = list->item[i].number;
    if (!handle)
      report_list(check, s, 2, "C_FindObjects returns the handle 0, which is no object", 0);
    else if (still && twice(list, i, q))
      report_list(check, s, 3, "a search returns the same object twice", handle);
    else if (still)
      compare_object(check, s, q, handle);
  }
}

static void left_out(struct check *check, const struct call *call, const struct model_session *s,
                     const struct model_search *q)
{
  const struct finding_options missing = {.cause = CAUSE_MISSING};
  bool given = false;
  const struct model_object *o = model_search_missed(s, call, NULL);
  /* Written and never read since: NSS-OBJ-09. */
  while (o && (model_search_matches(q, o, &given), given)) o = model_search_missed(s, call, o);
  if (!o) return;
  struct finding *f = finding_report_as(check, &missing, SEVERITY_ERROR, 4,
                                        "a search does not return an object that matches and is visible");
  finding_note(f, o->listed.number ? &o->listed : &o->made, "0x%" PRIx64, o->handle);
  finding_note(f, &s->op[OP_FIND].begun, NULL);
  finding_note(f, &q->last, "the end of the results, without 0x%" PRIx64, o->handle);
  finding_hint(f, "another process may have deleted or changed the object");
}

/* The standard, C_FindObjectsInit: "The matching criterion is an exact byte-for-byte match with all attributes in the
 * template." "If a search operation is active, and objects are created or destroyed which fit the search template for the
 * active search operation, then those objects may or may not be found". */
void rule_find_07(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  const struct model_search *q = model_search(s);
  if (!q || !q->active || !model_alone(s, call) || model_removal(s->slot, call)) return;
  if (call->known == P11_F_C_FindObjects) {
    if (call->rv == CKR_OK) returned(check, call, s, q);
  } else {
    left_out(check, call, s, q);
  }
}
