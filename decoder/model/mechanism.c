/* What each slot says of its mechanisms. */
#include <stdlib.h>

#include "decoder/model/model.h"

static struct model_mechanism *make(struct model_slot *slot, uint64_t type)
{
  struct model_mechanism *m = table_get(&slot->mechanisms, type);
  if (m) return m;
  m = model_alloc(sizeof *m);
  m->type = type;
  table_put(&slot->mechanisms, type, m);
  return m;
}

const struct model_mechanism *model_mechanism(const struct model_slot *slot, uint64_t type)
{
  return slot ? table_get(&slot->mechanisms, type) : NULL;
}

static void listed(const struct call *call, struct model_place *place)
{
  const struct value *list = &call->arg[1].out;
  uint64_t count;
  if (list->what != VALUE_LIST || !pick_out(call, 2, &count)) return;
  if (list->count == count) {
    size_t at = 0;
    for (struct model_mechanism *m; (m = table_next(&place->slot->mechanisms, &at));) m->listed = false;
    place->slot->mechanisms_listed = true;
  }
  for (size_t i = 0; i < list->count; i++) {
    struct model_mechanism *m = make(place->slot, list->item[i].number);
    m->listed = true;
    if (!m->known) model_note(place, &m->note, call);
  }
}

static uint64_t member(const struct call *call, size_t offset)
{
  const struct value *v = pick_member(call, 2, P11_S_CK_MECHANISM_INFO, offset);
  return v ? v->number : 0;
}

static void informed(const struct call *call, struct model_place *place)
{
  uint64_t type;
  if (!pick_in(call, 1, &type) || call->arg[2].out.what != VALUE_STRUCT) return;
  struct model_mechanism *m = make(place->slot, type);
  m->known = true;
  m->flags = member(call, offsetof(CK_MECHANISM_INFO, flags));
  m->least = member(call, offsetof(CK_MECHANISM_INFO, ulMinKeySize));
  m->most = member(call, offsetof(CK_MECHANISM_INFO, ulMaxKeySize));
  model_note(place, &m->note, call);
}

void model_apply_mechanism(const struct call *call, struct model_place *place)
{
  if (!place->slot || !call_returned(call, CKR_OK)) return;
  if (call->known == P11_F_C_GetMechanismList) listed(call, place);
  if (call->known == P11_F_C_GetMechanismInfo) informed(call, place);
}
