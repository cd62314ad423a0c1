/* Signing and MACing (PKCS #11 3.2, 5.13). */
#include "core/entry.h"
#include "crypto/op.h"

/* The operation, if it can be given in parts. CKM_RSA_PKCS and the like cannot: then there is no multi-part operation, which
 * is what other tokens answer too. */
static CK_RV in_parts(struct tok_session *session, struct tok_op **op)
{
  CK_RV rv = tok_op_active(session, TOK_SIGN, false, op);
  return rv == CKR_OK && (*op)->type->update == NULL ? CKR_OPERATION_NOT_INITIALIZED : rv;
}

CK_RV tok_C_SignInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                     CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_SIGN, pMechanism, CKF_SIGN, hKey, CKA_SIGN);
}

CK_RV tok_C_Sign(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                 CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, TOK_SIGN, true, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_SINGLE, pData, ulDataLen, pSignature, pulSignatureLen) : rv;
}

CK_RV tok_C_SignUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = in_parts(session, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_UPDATE, pPart, ulPartLen, NULL, NULL) : rv;
}

CK_RV tok_C_SignFinal(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
                      CK_ULONG_PTR pulSignatureLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = in_parts(session, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_FINAL, NULL, 0, pSignature, pulSignatureLen) : rv;
}
