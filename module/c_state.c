/* Saving and restoring the operations of a session (PKCS #11 3.2, 5.6: C_GetOperationState, C_SetOperationState). */
#include <string.h>

#include "auth/auth.h"
#include "auth/state_box.h"
#include "core/entry.h"
#include "core/module.h"
#include "crypto/op.h"
#include "crypto/op_state.h"
#include "object/objects.h"

/* "encryption, decryption, digesting, signing without message recovery, verification without message recovery". */
static const enum tok_op_kind saveable[] = {TOK_ENCRYPT, TOK_DECRYPT, TOK_DIGEST,
                                            TOK_SIGN,    TOK_VERIFY,  TOK_VERIFY_SIGNATURE};
enum { SAVEABLE = sizeof saveable / sizeof saveable[0] };

/* Which key of C_SetOperationState an operation works with. */
static bool enciphers(enum tok_op_kind kind)
{
  return kind == TOK_ENCRYPT || kind == TOK_DECRYPT;
}

static bool authenticates(enum tok_op_kind kind)
{
  return kind == TOK_SIGN || kind == TOK_VERIFY || kind == TOK_VERIFY_SIGNATURE;
}

/* --- saving ----------------------------------------------------------------------------------------------------- */

/* The operation, unless the login that it was begun under is over. */
static struct tok_op *active(struct tok_session *session, enum tok_op_kind kind)
{
  struct tok_op *op = NULL;
  if (session->op[kind] != NULL && session->op[kind]->must_authenticate) return session->op[kind];
  return tok_op_active(session, kind, false, &op) == CKR_OK ? op : NULL;
}

static CK_RV save_all(struct tok_session *session, struct tok_saving *to)
{
  struct tok_op *ops[SAVEABLE];
  unsigned count = 0, ciphers = 0, codes = 0;
  for (unsigned i = 0; i < SAVEABLE; i++) {
    struct tok_op *op = active(session, saveable[i]);
    if (op == NULL) continue;
    ops[count++] = op;
    ciphers += enciphers(saveable[i]);
    codes += authenticates(saveable[i]);
  }
  if (count == 0) return CKR_OPERATION_NOT_INITIALIZED;
  /* There are two keys to restore with; and what is not saved would be lost. */
  if (ciphers > 1 || codes > 1 || session->op[TOK_SIGN_RECOVER] != NULL || session->op[TOK_VERIFY_RECOVER] != NULL)
    return CKR_STATE_UNSAVEABLE;
  CK_RV rv = CKR_OK;
  tok_save_number(to, count);
  for (unsigned i = 0; i < count && rv == CKR_OK; i++) rv = tok_op_save(ops[i], to);
  return rv == CKR_OK && to->failed ? CKR_HOST_MEMORY : rv;
}

CK_RV tok_C_GetOperationState(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState,
                              CK_ULONG_PTR pulOperationStateLen)
{
  session = tok_session_lock(hSession);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID; /* closed by another thread just now */
  struct tok_saving state = {NULL, 0, 0, false};
  CK_RV rv = save_all(session, &state);
  if (rv == CKR_OK) {
    CK_ULONG room = *pulOperationStateLen, needed = tok_state_box_size(state.len);
    *pulOperationStateLen = needed;
    if (pOperationState != NULL)
      rv = room < needed ? CKR_BUFFER_TOO_SMALL
                         : tok_state_box_seal(session->slot, state.data, state.len, pOperationState);
  }
  for (unsigned i = 0; i < SAVEABLE && rv == CKR_OK && pOperationState != NULL; i++)
    if (session->op[saveable[i]] != NULL) session->op[saveable[i]]->saved = true;
  tok_session_unlock(session);
  tok_saving_clear(&state);
  return rv;
}

/* --- restoring -------------------------------------------------------------------------------------------------- */

struct restoring {
  struct tok_op_saved saved[SAVEABLE];
  struct tok_op *ops[SAVEABLE];
  unsigned count;
  CK_OBJECT_HANDLE cipher_key, code_key;
  bool borrowed; /* code_key was given as the other one */
};

static CK_RV read_all(struct tok_saved *from, struct restoring *r)
{
  uint64_t count = tok_saved_number(from);
  if (from->bad || count == 0 || count > SAVEABLE) return CKR_SAVED_STATE_INVALID;
  for (; r->count < count; r->count++) {
    CK_RV rv = tok_op_saved_read(from, &r->saved[r->count]);
    if (rv != CKR_OK) return rv;
  }
  return from->left == 0 ? CKR_OK : CKR_SAVED_STATE_INVALID;
}

/* Each key that is used must be there, and none that is not. NSS has one key for a context and gives it as hEncryptionKey
 * also if it is that of a MAC (pk11cxt.c, pk11_restoreContext): then it is taken for the other. */
static CK_RV check_keys(struct restoring *r)
{
  bool cipher = false, code = false;
  for (unsigned i = 0; i < r->count; i++) {
    cipher |= enciphers(r->saved[i].kind);
    code |= authenticates(r->saved[i].kind);
  }
  if (code && !cipher && r->code_key == CK_INVALID_HANDLE && r->cipher_key != CK_INVALID_HANDLE) {
    r->code_key = r->cipher_key;
    r->cipher_key = CK_INVALID_HANDLE;
    r->borrowed = true;
  }
  if ((!cipher && r->cipher_key != CK_INVALID_HANDLE) || (!code && r->code_key != CK_INVALID_HANDLE))
    return CKR_KEY_NOT_NEEDED;
  if ((cipher && r->cipher_key == CK_INVALID_HANDLE) || (code && r->code_key == CK_INVALID_HANDLE))
    return CKR_KEY_NEEDED;
  return CKR_OK;
}

/* Makes all of the operations, or none. */
static CK_RV make_all(struct tok_session *session, struct restoring *r)
{
  CK_RV rv = CKR_OK;
  for (unsigned i = 0; i < r->count && rv == CKR_OK; i++) {
    enum tok_op_kind kind = r->saved[i].kind;
    CK_OBJECT_HANDLE key = enciphers(kind) ? r->cipher_key : authenticates(kind) ? r->code_key : CK_INVALID_HANDLE;
    rv = tok_op_restore(session, &r->saved[i], key, &r->ops[i]);
  }
  if (rv == CKR_OK) return rv;
  for (unsigned i = 0; i < r->count; i++) tok_op_free(r->ops[i]);
  return rv == CKR_KEY_CHANGED && r->borrowed ? CKR_KEY_NOT_NEEDED : rv;
}

/* "the ongoing operations are abruptly cancelled" */
static void replace_all(struct tok_session *session, const struct restoring *r)
{
  for (int kind = 0; kind < TOK_OPS; kind++) tok_session_end(session, (enum tok_op_kind)kind);
  tok_found_free(session->found);
  session->found = NULL;
  for (unsigned i = 0; i < r->count; i++) session->op[r->saved[i].kind] = r->ops[i];
}

CK_RV tok_C_SetOperationState(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState,
                              CK_ULONG ulOperationStateLen, CK_OBJECT_HANDLE hEncryptionKey,
                              CK_OBJECT_HANDLE hAuthenticationKey)
{
  struct restoring r = {.cipher_key = hEncryptionKey, .code_key = hAuthenticationKey};
  CK_BYTE *state = NULL;
  size_t len = 0;
  session = tok_session_lock(hSession);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID;
  CK_RV rv = tok_state_box_open(session->slot, pOperationState, ulOperationStateLen, &state, &len);
  if (rv == CKR_OK) {
    struct tok_saved from = {state, len, false};
    rv = read_all(&from, &r);
    if (rv == CKR_OK) rv = check_keys(&r);
    if (rv == CKR_OK) rv = make_all(session, &r);
    if (rv == CKR_OK) replace_all(session, &r);
    tok_wipe_free(state, len);
  }
  tok_session_unlock(session);
  return rv;
}
