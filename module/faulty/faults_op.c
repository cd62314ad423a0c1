/* Faults of operations and of their output buffers. */
#include <stdlib.h>

#include "faulty/faulty.h"

CK_RV final_general_C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
  const CK_RV rv = NEXT(C_DigestFinal, (hSession, pDigest, pulDigestLen));
  return rv == CKR_OPERATION_NOT_INITIALIZED ? CKR_FUNCTION_FAILED : rv;
}

CK_RV op_sticky_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return flt_add(FLT_FAULT, 0, 1) % 2 == 0 ? CKR_OPERATION_ACTIVE : NEXT(C_SignInit, (hSession, pMechanism, hKey));
}

CK_RV no_opstate_C_GetOperationState(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pOperationState,
                                     CK_ULONG_PTR pulOperationStateLen)
{
  (void)hSession, (void)pOperationState, (void)pulOperationStateLen;
  return CKR_FUNCTION_NOT_SUPPORTED;
}

/* --- ending an operation behind the client's back ----------------------------------------------------------------- */

typedef CK_RV one_part(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
typedef CK_RV last_part(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR);

/* The call with room enough, whose output nobody sees. */
static void run_out(one_part *one, last_part *last, CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG n,
                    CK_ULONG room)
{
  CK_BYTE *unused = malloc(room + 1);
  if (unused == NULL) return;
  if (one != NULL)
    one(session, in, n, unused, &room);
  else
    last(session, unused, &room);
  free(unused);
}

CK_RV query_consumes_C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
  const CK_RV rv = NEXT(C_DigestFinal, (hSession, pDigest, pulDigestLen));
  if (rv == CKR_OK && pDigest == NULL) run_out(NULL, flt_target_C_DigestFinal, hSession, NULL, 0, *pulDigestLen);
  return rv;
}

CK_RV query_consumes_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                            CK_ULONG_PTR pulSignatureLen)
{
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  if (rv == CKR_OK && pSignature == NULL)
    run_out(flt_target_C_Sign, NULL, hSession, pData, ulDataLen, *pulSignatureLen);
  return rv;
}

CK_RV query_consumes_C_SignFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG_PTR pulSignatureLen)
{
  const CK_RV rv = NEXT(C_SignFinal, (hSession, pSignature, pulSignatureLen));
  if (rv == CKR_OK && pSignature == NULL) run_out(NULL, flt_target_C_SignFinal, hSession, NULL, 0, *pulSignatureLen);
  return rv;
}

CK_RV too_small_kills_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                             CK_ULONG_PTR pulSignatureLen)
{
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  if (rv == CKR_BUFFER_TOO_SMALL) run_out(flt_target_C_Sign, NULL, hSession, pData, ulDataLen, *pulSignatureLen);
  return rv;
}

CK_RV too_small_kills_C_Digest(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pDigest,
                               CK_ULONG_PTR pulDigestLen)
{
  const CK_RV rv = NEXT(C_Digest, (hSession, pData, ulDataLen, pDigest, pulDigestLen));
  if (rv == CKR_BUFFER_TOO_SMALL) run_out(flt_target_C_Digest, NULL, hSession, pData, ulDataLen, *pulDigestLen);
  return rv;
}

CK_RV too_small_kills_C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
  const CK_RV rv = NEXT(C_DigestFinal, (hSession, pDigest, pulDigestLen));
  if (rv == CKR_BUFFER_TOO_SMALL) run_out(NULL, flt_target_C_DigestFinal, hSession, NULL, 0, *pulDigestLen);
  return rv;
}

CK_RV too_small_kills_C_Encrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen,
                                CK_BYTE_PTR pEncryptedData, CK_ULONG_PTR pulEncryptedDataLen)
{
  const CK_RV rv = NEXT(C_Encrypt, (hSession, pData, ulDataLen, pEncryptedData, pulEncryptedDataLen));
  if (rv == CKR_BUFFER_TOO_SMALL) run_out(flt_target_C_Encrypt, NULL, hSession, pData, ulDataLen, *pulEncryptedDataLen);
  return rv;
}

CK_RV too_small_kills_C_Decrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData, CK_ULONG ulEncryptedDataLen,
                                CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen)
{
  const CK_RV rv = NEXT(C_Decrypt, (hSession, pEncryptedData, ulEncryptedDataLen, pData, pulDataLen));
  if (rv == CKR_BUFFER_TOO_SMALL)
    run_out(flt_target_C_Decrypt, NULL, hSession, pEncryptedData, ulEncryptedDataLen, *pulDataLen);
  return rv;
}

/* --- what is said of sizes ---------------------------------------------------------------------------------------- */

CK_RV query_too_small_C_DigestFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pDigest, CK_ULONG_PTR pulDigestLen)
{
  const CK_RV rv = NEXT(C_DigestFinal, (hSession, pDigest, pulDigestLen));
  return rv == CKR_OK && pDigest == NULL ? CKR_BUFFER_TOO_SMALL : rv;
}

CK_RV query_too_small_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                             CK_ULONG_PTR pulSignatureLen)
{
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  return rv == CKR_OK && pSignature == NULL ? CKR_BUFFER_TOO_SMALL : rv;
}

CK_RV query_short_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                         CK_ULONG_PTR pulSignatureLen)
{
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  if (rv == CKR_OK && pSignature == NULL && *pulSignatureLen > 0) --*pulSignatureLen;
  return rv;
}

CK_RV too_small_len_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                           CK_ULONG_PTR pulSignatureLen)
{
  const CK_ULONG room = pulSignatureLen != NULL ? *pulSignatureLen : 0;
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  if (rv == CKR_BUFFER_TOO_SMALL) *pulSignatureLen = room;
  return rv;
}

CK_RV too_small_len_C_Digest(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pDigest,
                             CK_ULONG_PTR pulDigestLen)
{
  const CK_ULONG room = pulDigestLen != NULL ? *pulDigestLen : 0;
  const CK_RV rv = NEXT(C_Digest, (hSession, pData, ulDataLen, pDigest, pulDigestLen));
  if (rv == CKR_BUFFER_TOO_SMALL) *pulDigestLen = room;
  return rv;
}

CK_RV too_small_len_C_Decrypt(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedData, CK_ULONG ulEncryptedDataLen,
                              CK_BYTE_PTR pData, CK_ULONG_PTR pulDataLen)
{
  const CK_ULONG room = pulDataLen != NULL ? *pulDataLen : 0;
  const CK_RV rv = NEXT(C_Decrypt, (hSession, pEncryptedData, ulEncryptedDataLen, pData, pulDataLen));
  if (rv == CKR_BUFFER_TOO_SMALL) *pulDataLen = room;
  return rv;
}

CK_RV overflow_len_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                          CK_ULONG_PTR pulSignatureLen)
{
  const CK_ULONG room = pulSignatureLen != NULL ? *pulSignatureLen : 0;
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  if (rv == CKR_OK && pSignature != NULL) *pulSignatureLen = room + 1;
  return rv;
}
