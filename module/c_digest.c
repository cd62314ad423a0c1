/* Message digesting (PKCS #11 3.2, 5.12). */
#include "core/entry.h"
#include "crypto/op.h"
#include "object/objects.h"

CK_RV tok_C_DigestInit(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism)
{
  (void)hSession;
  return tok_op_init(session, TOK_DIGEST, pMechanism, CKF_DIGEST, CK_INVALID_HANDLE, 0);
}

CK_RV tok_C_Digest(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                   CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, TOK_DIGEST, true, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_SINGLE, pData, ulDataLen, pDigest, pulDigestLen) : rv;
}

CK_RV tok_C_DigestUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, TOK_DIGEST, false, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_UPDATE, pPart, ulPartLen, NULL, NULL) : rv;
}

/* The text asks nothing of the key but that it is a secret one; CKA_SENSITIVE keeps its value, of which a digest
 * tells no more than any other use of the key does. */
CK_RV tok_C_DigestKey(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hKey)
{
  (void)hSession;
  struct tok_op *op = NULL;
  struct tok_object *key = NULL;
  CK_RV rv = tok_op_active(session, TOK_DIGEST, false, &op);
  if (rv != CKR_OK) return rv;
  if (tok_object_get(session, hKey, &key) != CKR_OK) return CKR_KEY_HANDLE_INVALID;
  CK_ULONG len = 0;
  const CK_BYTE *value = tok_attrs_get(&key->attrs, CKA_VALUE, &len);
  if (key->class != CKO_SECRET_KEY || value == NULL)
    rv = CKR_KEY_INDIGESTIBLE;
  else
    rv = tok_op_step(session, op, TOK_STEP_UPDATE, value, len, NULL, NULL);
  tok_object_unref(key);
  return rv;
}

CK_RV tok_C_DigestFinal(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest,
                        CK_ULONG_PTR pulDigestLen)
{
  (void)hSession;
  struct tok_op *op = NULL;
  CK_RV rv = tok_op_active(session, TOK_DIGEST, false, &op);
  return rv == CKR_OK ? tok_op_step(session, op, TOK_STEP_FINAL, NULL, 0, pDigest, pulDigestLen) : rv;
}
