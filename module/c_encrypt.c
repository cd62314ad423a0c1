/* Encryption and decryption (PKCS #11 3.2, 5.8 and 5.10). */
#include "core/entry.h"
#include "crypto/op.h"

static CK_RV step(struct tok_session *session, enum tok_op_kind kind, enum tok_step which, CK_BYTE_PTR in, CK_ULONG len,
                  CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, kind, which == TOK_STEP_SINGLE, &op);
  return rv == CKR_OK ? tok_op_step(session, op, which, in, len, out, out_len) : rv;
}

CK_RV tok_C_EncryptInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                        CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_ENCRYPT, pMechanism, CKF_ENCRYPT, hKey, CKA_ENCRYPT);
}

CK_RV tok_C_Encrypt(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                    CK_BYTE_PTR pEncryptedData, CK_ULONG_PTR pulEncryptedDataLen)
{
  (void)hSession;
  return step(session, TOK_ENCRYPT, TOK_STEP_SINGLE, pData, ulDataLen, pEncryptedData, pulEncryptedDataLen);
}

CK_RV tok_C_EncryptUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
                          CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
  (void)hSession;
  return step(session, TOK_ENCRYPT, TOK_STEP_UPDATE, pPart, ulPartLen, pEncryptedPart, pulEncryptedPartLen);
}

CK_RV tok_C_EncryptFinal(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastEncryptedPart,
                         CK_ULONG_PTR pulLastEncryptedPartLen)
{
  (void)hSession;
  return step(session, TOK_ENCRYPT, TOK_STEP_FINAL, NULL, 0, pLastEncryptedPart, pulLastEncryptedPartLen);
}

CK_RV tok_C_DecryptInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                        CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  return tok_op_init(session, TOK_DECRYPT, pMechanism, CKF_DECRYPT, hKey, CKA_DECRYPT);
}

CK_RV tok_C_Decrypt(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData,
                    CK_ULONG ulEncryptedDataLen, CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen)
{
  (void)hSession;
  return step(session, TOK_DECRYPT, TOK_STEP_SINGLE, pEncryptedData, ulEncryptedDataLen, pData, pulDataLen);
}

CK_RV tok_C_DecryptUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                          CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
  (void)hSession;
  return step(session, TOK_DECRYPT, TOK_STEP_UPDATE, pEncryptedPart, ulEncryptedPartLen, pPart, pulPartLen);
}

CK_RV tok_C_DecryptFinal(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pLastPart,
                         CK_ULONG_PTR pulLastPartLen)
{
  (void)hSession;
  return step(session, TOK_DECRYPT, TOK_STEP_FINAL, NULL, 0, pLastPart, pulLastPartLen);
}
