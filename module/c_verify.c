/* Verifying signatures and MACs (PKCS #11 3.2, 5.15): with the signature at the end, and, since 3.2, at the beginning. NSS
 * uses the second way with a module that has the 3.2 list, without falling back to the first (pk11obj.c,
 * PK11_VerifyWithMechanism). */
#include "core/entry.h"
#include "core/module.h"
#include "crypto/op.h"

/* As in c_sign.c. */
static CK_RV in_parts(struct tok_session *session, enum tok_op_kind kind, struct tok_op **op)
{
  CK_RV rv = tok_op_active(session, kind, false, op);
  return rv == CKR_OK && (*op)->type->update == NULL ? CKR_OPERATION_NOT_INITIALIZED : rv;
}

/* All of the data at once, or nothing more of it. The operation is over afterwards, whatever comes of it. */
static CK_RV finish(struct tok_session *session, struct tok_op *op, const CK_BYTE *data, CK_ULONG len,
                    const CK_BYTE *signature, CK_ULONG signature_len)
{
  CK_RV rv = tok_op_verify(op, data, len, signature, signature_len);
  tok_session_end(session, op->kind);
  return rv;
}

static CK_RV part(struct tok_session *session, enum tok_op_kind kind, const CK_BYTE *data, CK_ULONG len)
{
  struct tok_op *op = NULL;
  CK_RV rv = in_parts(session, kind, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_UPDATE, data, len, NULL, NULL) : rv;
}

CK_RV tok_C_VerifyInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                       CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_VERIFY, pMechanism, CKF_VERIFY, hKey, CKA_VERIFY);
}

CK_RV tok_C_Verify(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                   CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, TOK_VERIFY, true, &op);
  return rv == CKR_OK ? finish(session, op, pData, ulDataLen, pSignature, ulSignatureLen) : rv;
}

CK_RV tok_C_VerifyUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
  (void)hSession;
  return part(session, TOK_VERIFY, pPart, ulPartLen);
}

CK_RV tok_C_VerifyFinal(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
                        CK_ULONG ulSignatureLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = in_parts(session, TOK_VERIFY, &op);
  return rv == CKR_OK ? finish(session, op, NULL, 0, pSignature, ulSignatureLen) : rv;
}

CK_RV tok_C_VerifySignatureInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
  (void)hSession;
  CK_RV rv = tok_op_init(session, TOK_VERIFY_SIGNATURE, pMechanism, CKF_VERIFY, hKey, CKA_VERIFY);
  if (rv != CKR_OK || pMechanism == NULL) return rv;
  struct tok_op *op = session->op[TOK_VERIFY_SIGNATURE];
  op->signature = tok_dup(pSignature, ulSignatureLen);
  op->signature_len = ulSignatureLen;
  if (op->signature != NULL) return CKR_OK;
  tok_session_end(session, TOK_VERIFY_SIGNATURE);
  return CKR_HOST_MEMORY;
}

CK_RV tok_C_VerifySignature(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData,
                            CK_ULONG ulDataLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, TOK_VERIFY_SIGNATURE, true, &op);
  return rv == CKR_OK ? finish(session, op, pData, ulDataLen, op->signature, op->signature_len) : rv;
}

CK_RV tok_C_VerifySignatureUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
                                  CK_ULONG ulPartLen)
{
  (void)hSession;
  return part(session, TOK_VERIFY_SIGNATURE, pPart, ulPartLen);
}

CK_RV tok_C_VerifySignatureFinal(struct tok_session *session, CK_SESSION_HANDLE hSession)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = in_parts(session, TOK_VERIFY_SIGNATURE, &op);
  return rv == CKR_OK ? finish(session, op, NULL, 0, op->signature, op->signature_len) : rv;
}
