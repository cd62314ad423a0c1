/* Sessions (PKCS #11 3.2, 5.6). C_Login and C_Logout are in c_login.c. */
#include "auth/auth.h"
#include "core/entry.h"
#include "core/presence.h"
#include "object/objects.h"

CK_RV tok_C_OpenSession(struct tok_session *session, CK_SLOT_ID slotID, CK_FLAGS flags, CK_VOID_PTR pApplication,
                        CK_NOTIFY Notify, CK_SESSION_HANDLE_PTR phSession)
{
  (void)session;
  (void)pApplication; /* nothing is ever notified: no surrender, no device events */
  (void)Notify;
  struct tok_slot *slot = tok_slot_by_id(slotID);
  if (slot == NULL) return CKR_SLOT_ID_INVALID;
  if ((flags & CKF_SERIAL_SESSION) == 0) return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
  if ((flags & CKF_ASYNC_SESSION) != 0) return CKR_SESSION_ASYNC_NOT_SUPPORTED;
  if (tok_slot_present(slot) != CKR_OK) return CKR_TOKEN_NOT_PRESENT;
  if (slot->broken != CKR_OK) return slot->broken;
  if ((flags & CKF_RW_SESSION) != 0 && !tok_slot_writable(slot)) return CKR_TOKEN_WRITE_PROTECTED;
  return tok_session_open(slot, flags, phSession);
}

CK_RV tok_C_CloseSession(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)session;
  return tok_session_close(hSession);
}

CK_RV tok_C_CloseAllSessions(struct tok_session *session, CK_SLOT_ID slotID)
{
  (void)session;
  struct tok_slot *slot = tok_slot_by_id(slotID);
  if (slot == NULL) return CKR_SLOT_ID_INVALID;
  tok_slot_present(slot); /* what a removal has closed needs no closing */
  tok_session_close_all(slot);
  return CKR_OK;
}

CK_RV tok_C_GetSessionInfo(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_SESSION_INFO_PTR pInfo)
{
  static const CK_STATE states[][2] = {
      [TOK_NOBODY] = {CKS_RO_PUBLIC_SESSION, CKS_RW_PUBLIC_SESSION},
      [TOK_USER] = {CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS},
 /* A R/O session beside the SO's is there only while NSS sets a first PIN (auth/login.c); it is no one's. */
      [TOK_SO] = {CKS_RO_PUBLIC_SESSION, CKS_RW_SO_FUNCTIONS  },
  };
  session = tok_session_lock(hSession);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID; /* closed by another thread just now */
  *pInfo = (CK_SESSION_INFO){
      .slotID = session->slot->id,
      .state = states[tok_auth_who(session->slot)][tok_session_rw(session)],
      .flags = session->flags,
  };
  tok_session_unlock(session);
  return CKR_OK;
}

/* Cancels operations without a mechanism of NULL (3.0 and later). Those that are not active are not an error. */
CK_RV tok_C_SessionCancel(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_FLAGS flags)
{
  static const struct {
    CK_FLAGS flag;
    enum tok_op_kind kind;
  } kinds[] = {
      {CKF_ENCRYPT,         TOK_ENCRYPT         },
      {CKF_DECRYPT,         TOK_DECRYPT         },
      {CKF_DIGEST,          TOK_DIGEST          },
      {CKF_SIGN,            TOK_SIGN            },
      {CKF_VERIFY,          TOK_VERIFY          },
      {CKF_VERIFY,          TOK_VERIFY_SIGNATURE},
      {CKF_SIGN_RECOVER,    TOK_SIGN_RECOVER    },
      {CKF_VERIFY_RECOVER,  TOK_VERIFY_RECOVER  },
      {CKF_MESSAGE_ENCRYPT, TOK_MESSAGE_ENCRYPT },
      {CKF_MESSAGE_DECRYPT, TOK_MESSAGE_DECRYPT },
      {CKF_MESSAGE_SIGN,    TOK_MESSAGE_SIGN    },
      {CKF_MESSAGE_VERIFY,  TOK_MESSAGE_VERIFY  },
  };
  session = tok_session_lock(hSession);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if ((flags & kinds[i].flag) != 0) tok_session_end(session, kinds[i].kind);
  if ((flags & CKF_FIND_OBJECTS) != 0) {
    tok_found_free(session->found);
    session->found = NULL;
  }
  tok_session_unlock(session);
  return CKR_OK;
}
