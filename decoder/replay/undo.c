#include "decoder/replay/undo.h"

bool undo_find(struct undo *undo, const struct live *live)
{
  const struct call *call = live->call;
  *undo = (struct undo){0};
  if (call->state != CALL_DONE || call->rv == CKR_OK || call->rv == CKR_PENDING || live->rv != CKR_OK) return false;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const CK_ULONG *handle = (const CK_ULONG *)(uintptr_t)live->v[i];
    switch (call->info->param[i].kind) {
      case P11_K_SESSION: undo->session = live->v[i]; break;
      case P11_K_OUT_SESSION:
        if (handle == NULL || *handle == CK_INVALID_HANDLE) break;
        undo->session = *handle;
        undo->opened = true;
        break;
      case P11_K_OUT_OBJECT:
        if (handle != NULL && *handle != CK_INVALID_HANDLE &&
            undo->objects < sizeof undo->object / sizeof *undo->object)
          undo->object[undo->objects++] = *handle;
        break;
      default: break;
    }
  }
  return undo->opened || undo->objects > 0;
}

void undo_make(struct undo *undo, const CK_FUNCTION_LIST_3_2 *functions)
{
  if (undo->opened && functions->C_CloseSession) functions->C_CloseSession(undo->session);
  unsigned left = 0;
  for (unsigned i = 0; i < undo->objects; i++) {
    if (functions->C_DestroyObject == NULL || functions->C_DestroyObject(undo->session, undo->object[i]) != CKR_OK)
      undo->object[left++] = undo->object[i];
  }
  undo->objects = left;
}
