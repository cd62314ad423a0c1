/* Signatures from which the data is recovered (PKCS #11 3.2, 5.13 and 5.15): single-part only. */
#include "core/entry.h"
#include "crypto/op.h"

static CK_RV step(struct tok_session *session, enum tok_op_kind kind, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out,
                  CK_ULONG *out_len)
{
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, kind, true, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_SINGLE, in, len, out, out_len) : rv;
}

CK_RV tok_C_SignRecoverInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                            CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_SIGN_RECOVER, pMechanism, CKF_SIGN_RECOVER, hKey, CKA_SIGN_RECOVER);
}

CK_RV tok_C_SignRecover(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                        CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
  (void)hSession;
  return step(session, TOK_SIGN_RECOVER, pData, ulDataLen, pSignature, pulSignatureLen);
}

CK_RV tok_C_VerifyRecoverInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                              CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_VERIFY_RECOVER, pMechanism, CKF_VERIFY_RECOVER, hKey, CKA_VERIFY_RECOVER);
}

CK_RV tok_C_VerifyRecover(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature,
                          CK_ULONG ulSignatureLen, CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen)
{
  (void)hSession;
  return step(session, TOK_VERIFY_RECOVER, pSignature, ulSignatureLen, pData, pulDataLen);
}
