/* General-purpose functions (PKCS #11 3.2, 5.4): C_GetInfo. C_Initialize and C_Finalize are in core/lifetime.c, the function
 * lists in core/interfaces.c. */
#include "core/entry.h"
#include "core/text.h"
#include "core/version.h"

CK_RV tok_C_GetInfo(struct tok_session *session, CK_INFO_PTR pInfo)
{
  (void)session;
  pInfo->cryptokiVersion = (CK_VERSION){3, 2};
  pInfo->flags = 0;
  pInfo->libraryVersion = (CK_VERSION){TOK_VERSION_MAJOR, TOK_VERSION_MINOR};
  tok_pad(pInfo->manufacturerID, sizeof pInfo->manufacturerID, TOK_MANUFACTURER);
  tok_pad(pInfo->libraryDescription, sizeof pInfo->libraryDescription, "p11token software token");
  return CKR_OK;
}

/* Parallel functions, of which nothing but these two is left (5.20). */
CK_RV tok_C_GetFunctionStatus(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)session;
  (void)hSession;
  return CKR_FUNCTION_NOT_PARALLEL;
}

CK_RV tok_C_CancelFunction(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)session;
  (void)hSession;
  return CKR_FUNCTION_NOT_PARALLEL;
}
