/* Searching for objects: C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal. */
#include <string.h>

#include "core/entry.h"
#include "object/object_search.h"

CK_RV tok_C_FindObjectsInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate,
                            CK_ULONG ulCount)
{
  (void)hSession;
  if (session->found != NULL) return CKR_OPERATION_ACTIVE;
  return tok_search(session, pTemplate, ulCount, &session->found);
}

CK_RV tok_C_FindObjects(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
                        CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount)
{
  struct tok_found *found = session->found;
  (void)hSession;
  if (found == NULL) return CKR_OPERATION_NOT_INITIALIZED;
  size_t left = found->count - found->next, count = left < ulMaxObjectCount ? left : ulMaxObjectCount;
  if (count > 0) memcpy(phObject, found->handle + found->next, count * sizeof *phObject);
  found->next += count;
  *pulObjectCount = count;
  return CKR_OK;
}

CK_RV tok_C_FindObjectsFinal(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)hSession;
  if (session->found == NULL) return CKR_OPERATION_NOT_INITIALIZED;
  tok_found_free(session->found);
  session->found = NULL;
  return CKR_OK;
}
