/* Handles that were good once: a call that still uses one is judged by how it ended. */
#include "decoder/model/model.h"

static struct model_gone *slot_of(struct model_gone *ring, uint64_t *handles, unsigned *count, uint64_t handle)
{
  const unsigned at = (*count)++ % MODEL_GONE;
  handles[at] = handle;
  return &ring[at];
}

void model_session_gone(struct model_module *module, const struct model_session *session, enum model_gone_why why,
                        const struct note *note)
{
  *slot_of(module->gone_session, module->gone_handle[0], &module->gone_sessions, session->handle) = (struct model_gone){
      .handle = session->handle,
      .slot = session->slot->id,
      .why = why,
      .made = session->opened,
      .note = *note,
      .class = MODEL_NO_CLASS,
  };
}

void model_object_gone(struct model_module *module, const struct model_object *object, enum model_gone_why why,
                       const struct note *note)
{
  *slot_of(module->gone_object, module->gone_handle[1], &module->gone_objects, object->handle) = (struct model_gone){
      .handle = object->handle,
      .slot = object->slot ? object->slot->id : UINT64_MAX,
      .why = why,
      .made = object->made.number ? object->made : object->found,
      .note = *note,
      .class = object->facts.class,
      .token = object->facts.token,
      .is_private = object->facts.is_private,
  };
}

static const struct model_gone *last(const struct model_gone *ring, const uint64_t *handles, unsigned count,
                                     const struct model_slot *slot, uint64_t handle)
{
  const unsigned n = count < MODEL_GONE ? count : MODEL_GONE;
  for (unsigned i = 1; i <= n; i++) {
    const struct model_gone *gone = &ring[(count - i) % MODEL_GONE];
    if (handles[(count - i) % MODEL_GONE] != handle) continue;
    if (!slot || gone->slot == UINT64_MAX || gone->slot == slot->id) return gone;
  }
  return NULL;
}

const struct model_gone *model_gone_session(const struct model_module *module, uint64_t handle)
{
  return last(module->gone_session, module->gone_handle[0], module->gone_sessions, NULL, handle);
}

const struct model_gone *model_gone_object(const struct model_module *module, const struct model_slot *slot,
                                           uint64_t handle)
{
  return last(module->gone_object, module->gone_handle[1], module->gone_objects, slot, handle);
}
