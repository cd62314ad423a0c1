/* Faults of what operations give: signatures, random numbers, verdicts. */
#include "faulty/faulty.h"

/* The type of the key that the session signs with; plus one, so that 0 is none. */
static CK_RV remember_key(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
  const CK_RV rv = NEXT(C_SignInit, (session, mechanism, key));
  if (rv == CKR_OK) flt_set(FLT_SESSION, session, flt_number_of(session, key, CKA_KEY_TYPE) + 1);
  return rv;
}

static bool signs_with(CK_SESSION_HANDLE session, CK_KEY_TYPE type)
{
  return flt_get(FLT_SESSION, session) == type + 1;
}

/* An INTEGER of at most `most` bytes: the value without leading zeros, cut if it must be. */
static size_t der_integer(CK_BYTE *to, const CK_BYTE *from, size_t n, size_t most)
{
  while (n > 1 && *from == 0) from++, n--;
  const size_t sign = *from >> 7;
  if (n + sign > most) n = most - sign;
  to[0] = 2;
  to[1] = (CK_BYTE)(n + sign);
  to[2] = 0;
  memcpy(to + 2 + sign, from, n);
  return 2 + n + sign;
}

CK_RV ecdsa_der_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return remember_key(hSession, pMechanism, hKey);
}

CK_RV ecdsa_der_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                       CK_ULONG_PTR pulSignatureLen)
{
  CK_BYTE raw[256], der[300];
  CK_ULONG n = sizeof raw;
  if (pSignature == NULL || !signs_with(hSession, CKK_EC) || *pulSignatureLen < 16 || *pulSignatureLen > 129)
    return NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, raw, &n));
  if (rv != CKR_OK) return rv;
  const size_t most = (*pulSignatureLen - 6) / 2;
  size_t at = 2;
  at += der_integer(der + at, raw, n / 2, most);
  at += der_integer(der + at, raw + n / 2, n / 2, most);
  der[0] = 0x30;
  der[1] = (CK_BYTE)(at - 2);
  memcpy(pSignature, der, at);
  *pulSignatureLen = at;
  return rv;
}

CK_RV rsa_short_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return remember_key(hSession, pMechanism, hKey);
}

CK_RV rsa_short_C_Sign(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                       CK_ULONG_PTR pulSignatureLen)
{
  const CK_RV rv = NEXT(C_Sign, (hSession, pData, ulDataLen, pSignature, pulSignatureLen));
  if (rv == CKR_OK && pSignature != NULL && signs_with(hSession, CKK_RSA) && *pulSignatureLen > 1)
    memmove(pSignature, pSignature + 1, --*pulSignatureLen);
  return rv;
}

/* --- random numbers ----------------------------------------------------------------------------------------------- */

CK_RV rng_needs_login_C_GenerateRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR RandomData, CK_ULONG ulRandomLen)
{
  return flt_is_public(flt_state(hSession)) ? CKR_USER_NOT_LOGGED_IN
                                            : NEXT(C_GenerateRandom, (hSession, RandomData, ulRandomLen));
}

CK_RV rng_constant_C_GenerateRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR RandomData, CK_ULONG ulRandomLen)
{
  const CK_RV rv = NEXT(C_GenerateRandom, (hSession, RandomData, ulRandomLen));
  for (CK_ULONG i = 0; rv == CKR_OK && i < ulRandomLen; i++) RandomData[i] = (CK_BYTE)(i * 167 + 13);
  return rv;
}

CK_RV rng_zero_C_GenerateRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR RandomData, CK_ULONG ulRandomLen)
{
  const CK_RV rv = NEXT(C_GenerateRandom, (hSession, RandomData, ulRandomLen));
  if (rv == CKR_OK) memset(RandomData, 0, ulRandomLen);
  return rv;
}

/* --- verdicts ----------------------------------------------------------------------------------------------------- */

static CK_RV general_for_wrong(CK_RV rv)
{
  return rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE ? CKR_GENERAL_ERROR : rv;
}

CK_RV verify_general_C_Verify(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pData, CK_ULONG ulDataLen, CK_BYTE_PTR pSignature,
                              CK_ULONG ulSignatureLen)
{
  return general_for_wrong(NEXT(C_Verify, (hSession, pData, ulDataLen, pSignature, ulSignatureLen)));
}

CK_RV verify_general_C_VerifyFinal(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSignature, CK_ULONG ulSignatureLen)
{
  return general_for_wrong(NEXT(C_VerifyFinal, (hSession, pSignature, ulSignatureLen)));
}
