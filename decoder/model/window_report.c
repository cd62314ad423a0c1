/* What the rules are told of the login: reports of C_GetSessionInfo, and odd answers. */
#include "decoder/model/window.h"

#include <stdlib.h>

void window_report(struct model_module *m, const struct model_observation *seen)
{
  struct model_reports *r = &m->reports;
  if (r->count == r->room) {
    const unsigned room = r->room ? r->room * 2 : 4;
    struct model_observation *more = model_alloc(room * sizeof *more);
    for (unsigned i = 0; i < r->count; i++) more[i] = r->seen[i];
    free(r->seen);
    r->seen = more;
    r->room = room;
  }
  r->seen[r->count++] = *seen;
}

bool model_observed(struct model_module *module, struct model_observation *seen)
{
  struct model_reports *r = &module->reports;
  if (r->at == r->count) {
    r->at = r->count = 0;
    return false;
  }
  *seen = r->seen[r->at++];
  return true;
}

void model_drop_reports(struct model_module *module)
{
  free(module->reports.seen);
  module->reports = (struct model_reports){0};
}

/* What rules are told of the call; session and slot are filled in for calls of any kind. */
void window_describe(const struct call *call, const struct model_place *place, struct model_slot *slot,
                     const struct window_op *op, struct model_observation *seen)
{
  *seen = (struct model_observation){
      .slot = slot,
      .session = op->session,
      .seen = op->need,
      .possible = LOGIN_ANY,
      .answer = !op->watches,
      .removal = model_removal(slot, call),
      .probe = call_is_probe(call),
  };
  model_note(place, &seen->note, call);
  if (op->watches) {
    seen->state = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state))->number;
    const struct value *flags = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, flags));
    seen->flags = flags ? flags->number : 0;
  }
  const struct model_session *s = model_session(place->module, op->session);
  const struct model_gone *gone = s ? NULL : model_gone_session(place->module, op->session);
  if (s) {
    seen->opened = s->opened;
    seen->asked = s->flags;
  } else if (gone) {
    seen->opened = gone->made;
  }
}
