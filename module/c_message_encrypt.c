/* Encryption and decryption of messages (PKCS #11 3.2, 5.9 and 5.11), with ciphers that authenticate. Nonce, tag and associated
 * data come with each message; an error ends the message at most, never the operation. */
#include <openssl/crypto.h>
#include <string.h>

#include "core/entry.h"
#include "crypto/message.h"

/* What a message begins with. */
struct beginning {
  CK_VOID_PTR param;
  CK_ULONG param_len;
  CK_BYTE_PTR aad;
  CK_ULONG aad_len;
};

/* The input of a call and its output. */
struct part {
  CK_BYTE_PTR in;
  CK_ULONG len;
  CK_BYTE_PTR out;
  CK_ULONG_PTR out_len;
};

/* Begins a message. A nonce that is made here is written into the parameter when the message has been begun, and is used up in
 * any case. */
static CK_RV begin(struct tok_op *op, const struct tok_aead_message *m, const struct beginning *b)
{
  struct tok_messages *messages = op->messages;
  CK_BYTE nonce[TOK_MAX_IV];
  if (m->iv == NULL) return CKR_MECHANISM_PARAM_INVALID;
  bool made = op->kind == TOK_MESSAGE_ENCRYPT && m->generator != CKG_NO_GENERATE;
  if (made) {
    if (m->iv_len > sizeof nonce) return CKR_MECHANISM_PARAM_INVALID;
    memcpy(nonce, m->iv, m->iv_len);
  }
  CK_RV rv = CKR_OK;
  if (op->kind == TOK_MESSAGE_ENCRYPT)
    rv = tok_aead_make_iv(&messages->ivs, m->generator, made ? nonce : m->iv, m->iv_len, m->fixed_bits);
  if (rv == CKR_OK) rv = tok_aead_message_begin(op, m, made ? nonce : m->iv, b->aad, b->aad_len, &messages->message);
  if (rv == CKR_OK && made) memcpy(m->iv, nonce, m->iv_len);
  return rv;
}

/* The last step of the message that is begun, with the tag taken from the parameter or written there. */
static CK_RV end(struct tok_op *op, const struct tok_aead_message *m, enum tok_step step, const struct part *p)
{
  struct tok_op *message = op->messages->message;
  CK_ULONG tag_len = 0;
  CK_BYTE *tag = tok_aead_tag(message, &tag_len);
  bool over = false;
  if (tag_len != m->tag_len) return CKR_MECHANISM_PARAM_INVALID;
  if (op->kind == TOK_MESSAGE_DECRYPT) memcpy(tag, m->tag, tag_len);
  CK_RV rv = tok_op_move(message, step, p->in, p->len, p->out, p->out_len, &over);
  if (rv != CKR_OK || !over) return rv;
  if (op->kind == TOK_MESSAGE_ENCRYPT) memcpy(m->tag, tag, tag_len);
  tok_messages_drop(op);
  return CKR_OK;
}

/* C_EncryptMessage and C_DecryptMessage. The output is as long as the input, so a question for its length and a buffer that is
 * too small cost no nonce. */
static CK_RV whole(struct tok_session *session, enum tok_op_kind kind, const struct beginning *b, const struct part *p)
{
  struct tok_op *op = NULL;
  struct tok_aead_message m;
  CK_RV rv = tok_op_active(session, kind, true, &op);
  if (rv == CKR_OK) rv = tok_aead_message_read(op->mech->arg, b->param, b->param_len, &m);
  if (rv != CKR_OK) return rv;
  if (p->out == NULL || *p->out_len < p->len) {
    *p->out_len = p->len;
    return p->out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  rv = begin(op, &m, b);
  if (rv != CKR_OK) return rv;
  rv = end(op, &m, TOK_STEP_SINGLE, p);
  if (rv != CKR_OK) tok_messages_drop(op);
  return rv;
}

static CK_RV begin_parts(struct tok_session *session, enum tok_op_kind kind, const struct beginning *b)
{
  struct tok_op *op = NULL;
  struct tok_aead_message m;
  CK_RV rv = tok_op_active(session, kind, true, &op);
  if (rv == CKR_OK) rv = tok_aead_message_read(op->mech->arg, b->param, b->param_len, &m);
  if (rv == CKR_OK) rv = begin(op, &m, b);
  if (rv == CKR_OK) op->updating = true;
  return rv;
}

/* The entry ends the message after an error. Parts of a message that is decrypted give no output: nothing of it is released
 * before its tag, which comes with the last part, has been checked. */
static CK_RV next(struct tok_session *session, enum tok_op_kind kind, CK_VOID_PTR param, CK_ULONG param_len,
                  const struct part *p, CK_FLAGS flags)
{
  struct tok_op *op = NULL;
  struct tok_aead_message m;
  bool over = false;
  CK_RV rv = tok_op_active(session, kind, false, &op);
  if (rv != CKR_OK) return rv;
  if (!op->updating) return CKR_OPERATION_NOT_INITIALIZED;
  if ((flags & ~CKF_END_OF_MESSAGE) != 0) return CKR_ARGUMENTS_BAD;
  if ((flags & CKF_END_OF_MESSAGE) == 0)
    return tok_op_move(op->messages->message, TOK_STEP_UPDATE, p->in, p->len, p->out, p->out_len, &over);
  rv = tok_aead_message_read(op->mech->arg, param, param_len, &m);
  return rv == CKR_OK ? end(op, &m, TOK_STEP_LAST, p) : rv;
}

CK_RV tok_C_MessageEncryptInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                               CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_MESSAGE_ENCRYPT, pMechanism, CKF_MESSAGE_ENCRYPT, hKey, CKA_ENCRYPT);
}

CK_RV tok_C_EncryptMessage(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                           CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                           CK_BYTE_PTR pPlaintext, CK_ULONG ulPlaintextLen, CK_BYTE_PTR pCiphertext,
                           CK_ULONG_PTR pulCiphertextLen)
{
  (void)hSession;
  const struct beginning b = {pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen};
  const struct part p = {pPlaintext, ulPlaintextLen, pCiphertext, pulCiphertextLen};
  return whole(session, TOK_MESSAGE_ENCRYPT, &b, &p);
}

CK_RV tok_C_EncryptMessageBegin(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                                CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen)
{
  (void)hSession;
  const struct beginning b = {pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen};
  return begin_parts(session, TOK_MESSAGE_ENCRYPT, &b);
}

CK_RV tok_C_EncryptMessageNext(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                               CK_ULONG ulParameterLen, CK_BYTE_PTR pPlaintextPart, CK_ULONG ulPlaintextPartLen,
                               CK_BYTE_PTR pCiphertextPart, CK_ULONG_PTR pulCiphertextPartLen, CK_FLAGS flags)
{
  (void)hSession;
  const struct part p = {pPlaintextPart, ulPlaintextPartLen, pCiphertextPart, pulCiphertextPartLen};
  return next(session, TOK_MESSAGE_ENCRYPT, pParameter, ulParameterLen, &p, flags);
}

CK_RV tok_C_MessageEncryptFinal(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)hSession;
  return tok_messages_final(session, TOK_MESSAGE_ENCRYPT);
}

CK_RV tok_C_MessageDecryptInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                               CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_MESSAGE_DECRYPT, pMechanism, CKF_MESSAGE_DECRYPT, hKey, CKA_DECRYPT);
}

CK_RV tok_C_DecryptMessage(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                           CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                           CK_BYTE_PTR pCiphertext, CK_ULONG ulCiphertextLen, CK_BYTE_PTR pPlaintext,
                           CK_ULONG_PTR pulPlaintextLen)
{
  (void)hSession;
  const struct beginning b = {pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen};
  const struct part p = {pCiphertext, ulCiphertextLen, pPlaintext, pulPlaintextLen};
  return whole(session, TOK_MESSAGE_DECRYPT, &b, &p);
}

CK_RV tok_C_DecryptMessageBegin(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                                CK_ULONG ulParameterLen, CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen)
{
  (void)hSession;
  const struct beginning b = {pParameter, ulParameterLen, pAssociatedData, ulAssociatedDataLen};
  return begin_parts(session, TOK_MESSAGE_DECRYPT, &b);
}

CK_RV tok_C_DecryptMessageNext(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                               CK_ULONG ulParameterLen, CK_BYTE_PTR pCiphertextPart, CK_ULONG ulCiphertextPartLen,
                               CK_BYTE_PTR pPlaintextPart, CK_ULONG_PTR pulPlaintextPartLen, CK_FLAGS flags)
{
  (void)hSession;
  const struct part p = {pCiphertextPart, ulCiphertextPartLen, pPlaintextPart, pulPlaintextPartLen};
  return next(session, TOK_MESSAGE_DECRYPT, pParameter, ulParameterLen, &p, flags);
}

CK_RV tok_C_MessageDecryptFinal(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)hSession;
  return tok_messages_final(session, TOK_MESSAGE_DECRYPT);
}
