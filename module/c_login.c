/* C_Login, C_LoginUser, C_Logout (PKCS #11 3.2, 5.6). */
#include "auth/auth.h"
#include "core/entry.h"
#include "core/slots.h"
#include "crypto/op.h"

/* The operation of this session that waits for its own login (4.10, CKA_ALWAYS_AUTHENTICATE), or NULL. Two that wait
 * are let go on one login after the other. */
static struct tok_op *waiting(struct tok_session *session)
{
  for (int kind = 0; kind < TOK_OPS; kind++)
    if (session->op[kind] != NULL && session->op[kind]->must_authenticate) return session->op[kind];
  return NULL;
}

/* The PIN is tried while the session is unlocked, so that calls that only ask for its state need not wait. */
static CK_RV login_for_operation(CK_SESSION_HANDLE handle, const CK_BYTE *pin, CK_ULONG len)
{
  struct tok_session *session = tok_session_lock(handle);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID;
  struct tok_slot *slot = session->slot;
  struct tok_op *op = waiting(session);
  tok_session_unlock(session);
  if (op == NULL) return CKR_OPERATION_NOT_INITIALIZED;

  CK_RV rv = tok_auth_verify(slot, pin, len);
  if (rv != CKR_OK) return rv;
  session = tok_session_lock(handle);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID;
  if (waiting(session) == op)
    op->must_authenticate = false;
  else
    rv = CKR_OPERATION_NOT_INITIALIZED; /* cancelled meanwhile by another thread */
  tok_session_unlock(session);
  return rv;
}

CK_RV tok_C_Login(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
                  CK_ULONG ulPinLen)
{
  if (userType != CKU_USER && userType != CKU_SO && userType != CKU_CONTEXT_SPECIFIC) return CKR_USER_TYPE_INVALID;
  /* NULL asks for a protected authentication path, which there is not; an empty PIN is at an address. */
  if (pPin == NULL) return CKR_ARGUMENTS_BAD;
  if (userType == CKU_CONTEXT_SPECIFIC) return login_for_operation(hSession, pPin, ulPinLen);

  session = tok_session_lock(hSession);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID;
  struct tok_slot *slot = session->slot;
  tok_session_unlock(session);
  CK_RV rv = tok_auth_login(slot, userType, pPin, ulPinLen);
  if (rv != CKR_OK) return rv;
  /* All sessions closed while the PIN was tried: then nobody stays logged in. */
  tok_auth_sessions_closed(slot);
  return tok_auth_who(slot) == TOK_NOBODY ? CKR_SESSION_HANDLE_INVALID : CKR_OK;
}

/* Users with names (3.0 and later) are not known here; without a name it is C_Login. */
CK_RV tok_C_LoginUser(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_USER_TYPE userType,
                      CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen, CK_UTF8CHAR_PTR pUsername, CK_ULONG ulUsernameLen)
{
  (void)pUsername;
  if (ulUsernameLen > 0) return CKR_ARGUMENTS_BAD;
  return tok_C_Login(session, hSession, userType, pPin, ulPinLen);
}

CK_RV tok_C_Logout(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  session = tok_session_lock(hSession);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID;
  struct tok_slot *slot = session->slot;
  tok_session_unlock(session);
  return tok_auth_logout(slot);
}
