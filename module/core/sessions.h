/* Sessions and the operations that are active in them.
 *
 * The generated entries (core/entry.c) look a session up, lock it, call the tok_C_ function and unlock it; so two calls on
 * one session wait for each other and calls on different sessions never do. A session's memory is used again but never
 * freed before C_Finalize; its handle carries a generation, so an old handle is CKR_SESSION_HANDLE_INVALID. */
#ifndef TOK_SESSIONS_H
#define TOK_SESSIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "pkcs11.h"

struct tok_slot;
struct tok_op;
struct tok_found;

/* What can be active in a session, one of each. */
enum tok_op_kind {
  TOK_ENCRYPT,
  TOK_DECRYPT,
  TOK_DIGEST,
  TOK_SIGN,
  TOK_VERIFY,
  TOK_SIGN_RECOVER,
  TOK_VERIFY_RECOVER,
  TOK_VERIFY_SIGNATURE, /* C_VerifySignatureInit and its family */
  TOK_MESSAGE_ENCRYPT,  /* C_MessageEncryptInit and its family: one operation, many messages; see crypto/message.h */
  TOK_MESSAGE_DECRYPT,
  TOK_MESSAGE_SIGN,
  TOK_MESSAGE_VERIFY,
  TOK_OPS
};

struct tok_session {
  pthread_mutex_t lock;
  CK_SESSION_HANDLE handle; /* 0: closed */
  struct tok_slot *slot;
  uint32_t born;  /* slot->insertion when it was opened; another value of the counter: its token was removed */
  CK_FLAGS flags; /* CKF_SERIAL_SESSION, CKF_RW_SESSION */
  struct tok_op *op[TOK_OPS]; /* crypto/op.h; NULL: not active */
  struct tok_found *found;    /* object/objects.h; an active search, or NULL */
};

static inline bool tok_session_rw(const struct tok_session *s)
{
  return (s->flags & CKF_RW_SESSION) != 0;
}

/* The open session of that handle, locked; NULL if there is none, or none any more since its token was removed. The caller
 * has locked nothing. */
struct tok_session *tok_session_lock(CK_SESSION_HANDLE handle);
void tok_session_unlock(struct tok_session *session);

/* Ends one operation (nothing happens if it is not active) and frees what it held. The session is locked. */
void tok_session_end(struct tok_session *session, enum tok_op_kind kind);

/* Opens and closes; the callers (session.c) have checked the arguments. close_all closes those of one slot, or of all
 * slots if `slot` is NULL. */
CK_RV tok_session_open(struct tok_slot *slot, CK_FLAGS flags, CK_SESSION_HANDLE *handle);
CK_RV tok_session_close(CK_SESSION_HANDLE handle);
void tok_session_close_all(struct tok_slot *slot);
/* Closes a session, which is locked, of a token that was removed. */
void tok_session_lose(struct tok_session *session) __attribute__((cold, noinline));
/* Closes those of the slot whose token was removed, but for the ones that are in a call; the login stays. */
void tok_session_close_lost(struct tok_slot *slot);

/* Frees the memory of all sessions, which are closed; or forgets it, in a forked child or when libcrypto is gone. */
void tok_sessions_free(void);
void tok_sessions_abandon(void);

#endif
