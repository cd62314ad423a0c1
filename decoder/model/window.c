/* Login states that C_GetSessionInfo reports, and what they could have been.
 *
 * The simple form: where a call that changes the login overlaps, every state is possible. */
#include <stdlib.h>

#include "decoder/model/model.h"

void model_observe(const struct event *event, const struct model_place *place)
{
  const struct call *call = event->call;
  struct model_module *m = place->module;
  if (call->known != P11_F_C_GetSessionInfo || !call_returned(call, CKR_OK) || !place->slot || m->waiting) return;
  const struct value *state = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state));
  const struct value *flags = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, flags));
  uint64_t handle;
  if (!state || !flags || !pick_in(call, 0, &handle)) return;
  struct model_observation *o = model_alloc(sizeof *o);
  const bool settled = model_settled(place->slot, call);
  *o = (struct model_observation){
      .slot = place->slot,
      .session = handle,
      .state = state->number,
      .flags = flags->number,
      .seen = model_state_class(state->number),
      .possible = settled ? place->slot->login : LOGIN_ANY,
      .overlapped = !settled,
      .removal = model_removal(place->slot, call),
      .probe = call->flags & P11T_PROBE,
  };
  model_note(place, &o->note, call);
  if (place->session) {
    o->opened = place->session->opened;
    o->asked = place->session->flags;
  }
  m->waiting = o;
}

bool model_observed(struct model_module *module, struct model_observation *seen)
{
  if (!module->waiting) return false;
  *seen = *module->waiting;
  free(module->waiting);
  module->waiting = NULL;
  return true;
}

void model_drop_waiting(struct model_module *module)
{
  free(module->waiting);
  module->waiting = NULL;
}
