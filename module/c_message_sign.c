/* Signing and verifying messages (PKCS #11 3.2, 5.14 and 5.17): the mechanisms of C_SignInit and C_VerifyInit, begun once. None
 * of them has a parameter for each message. */
#include "core/entry.h"
#include "crypto/message.h"

/* The operation, and in it the message that is ready or begun. `single`: no message may have been begun in parts. */
static CK_RV active(struct tok_session *session, enum tok_op_kind kind, bool single, CK_ULONG param_len,
                    struct tok_op **op)
{
  CK_RV rv = tok_op_active(session, kind, single, op);
  if (rv != CKR_OK) return rv;
  if (!single && !(*op)->updating) return CKR_OPERATION_NOT_INITIALIZED;
  if (param_len > 0) return CKR_MECHANISM_PARAM_INVALID;
  struct tok_messages *messages = (*op)->messages;
  return messages->message != NULL ? CKR_OK : tok_op_message(*op, &messages->mechanism, &messages->message);
}

/* CKR_FUNCTION_FAILED for mechanisms in one part (without CKF_MULTI_MESSAGE): nothing in the standard's list says it better, and
 * CKR_OPERATION_NOT_INITIALIZED would be a lie, for C_SignMessage works. */
static CK_RV begin_parts(struct tok_session *session, enum tok_op_kind kind, CK_ULONG param_len)
{
  struct tok_op *op = NULL;
  CK_RV rv = active(session, kind, true, param_len, &op);
  if (rv == CKR_OK && op->messages->message->type->update == NULL) rv = CKR_FUNCTION_FAILED;
  if (rv == CKR_OK) op->updating = true;
  return rv;
}

static CK_RV sign(struct tok_op *op, enum tok_step step, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR signature,
                  CK_ULONG_PTR signature_len)
{
  bool over = false;
  CK_RV rv = tok_op_move(op->messages->message, step, data, len, signature, signature_len, &over);
  if (over || (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL)) tok_messages_drop(op);
  return rv;
}

static CK_RV verify(struct tok_op *op, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR signature, CK_ULONG signature_len)
{
  CK_RV rv = tok_op_verify(op->messages->message, data, len, signature, signature_len);
  tok_messages_drop(op);
  return rv;
}

CK_RV tok_C_MessageSignInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                            CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_MESSAGE_SIGN, pMechanism, CKF_MESSAGE_SIGN, hKey, CKA_SIGN);
}

CK_RV tok_C_SignMessage(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                        CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                        CK_ULONG_PTR pulSignatureLen)
{
  (void)hSession;
  (void)pParameter;
  struct tok_op *op = NULL;
  CK_RV rv = active(session, TOK_MESSAGE_SIGN, true, ulParameterLen, &op);
  return rv == CKR_OK ? sign(op, TOK_STEP_SINGLE, pData, ulDataLen, pSignature, pulSignatureLen) : rv;
}

CK_RV tok_C_SignMessageBegin(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                             CK_ULONG ulParameterLen)
{
  (void)hSession;
  (void)pParameter;
  return begin_parts(session, TOK_MESSAGE_SIGN, ulParameterLen);
}

/* pulSignatureLen NULL: there is more to come. The part beside a question for the length is not taken in; it comes again. */
CK_RV tok_C_SignMessageNext(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                            CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                            CK_ULONG_PTR pulSignatureLen)
{
  (void)hSession;
  (void)pParameter;
  struct tok_op *op = NULL;
  CK_RV rv = active(session, TOK_MESSAGE_SIGN, false, ulParameterLen, &op);
  if (rv != CKR_OK) return rv;
  return sign(op, pulSignatureLen == NULL ? TOK_STEP_UPDATE : TOK_STEP_LAST, pData, ulDataLen, pSignature,
              pulSignatureLen);
}

CK_RV tok_C_MessageSignFinal(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)hSession;
  return tok_messages_final(session, TOK_MESSAGE_SIGN);
}

CK_RV tok_C_MessageVerifyInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                              CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_MESSAGE_VERIFY, pMechanism, CKF_MESSAGE_VERIFY, hKey, CKA_VERIFY);
}

CK_RV tok_C_VerifyMessage(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                          CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                          CK_ULONG ulSignatureLen)
{
  (void)hSession;
  (void)pParameter;
  struct tok_op *op = NULL;
  CK_RV rv = active(session, TOK_MESSAGE_VERIFY, true, ulParameterLen, &op);
  return rv == CKR_OK ? verify(op, pData, ulDataLen, pSignature, ulSignatureLen) : rv;
}

CK_RV tok_C_VerifyMessageBegin(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                               CK_ULONG ulParameterLen)
{
  (void)hSession;
  (void)pParameter;
  return begin_parts(session, TOK_MESSAGE_VERIFY, ulParameterLen);
}

/* pSignature NULL: there is more to come. */
CK_RV tok_C_VerifyMessageNext(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_VOID_PTR pParameter,
                              CK_ULONG ulParameterLen, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                              CK_ULONG ulSignatureLen)
{
  (void)hSession;
  (void)pParameter;
  struct tok_op *op = NULL;
  bool over = false;
  CK_RV rv = active(session, TOK_MESSAGE_VERIFY, false, ulParameterLen, &op);
  if (rv != CKR_OK) return rv;
  if (pSignature == NULL)
    return tok_op_move(op->messages->message, TOK_STEP_UPDATE, pData, ulDataLen, NULL, NULL, &over);
  return verify(op, pData, ulDataLen, pSignature, ulSignatureLen);
}

CK_RV tok_C_MessageVerifyFinal(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)hSession;
  return tok_messages_final(session, TOK_MESSAGE_VERIFY);
}
