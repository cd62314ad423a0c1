/* Two operations of a session with one call (PKCS #11 3.2, 5.16). */
#include "core/entry.h"
#include "crypto/op.h"

/* The two operations, both begun and both able to go on in parts. */
struct pair {
  struct tok_op *cipher, *other;
};

static CK_RV find_pair(struct tok_session *session, enum tok_op_kind cipher, enum tok_op_kind other, struct pair *pair)
{
  CK_RV rv = tok_op_active(session, cipher, false, &pair->cipher);
  if (rv == CKR_OK) rv = tok_op_active(session, other, false, &pair->other);
  if (rv != CKR_OK) return rv;
  return pair->cipher->type->update != NULL && pair->other->type->update != NULL ? CKR_OK
                                                                                 : CKR_OPERATION_NOT_INITIALIZED;
}

/* What ends one of them ends the other too: its part of the data is lost. */
static CK_RV end_pair(struct tok_session *session, enum tok_op_kind cipher, enum tok_op_kind other, CK_RV rv)
{
  if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL) return rv;
  tok_session_end(session, cipher);
  tok_session_end(session, other);
  return rv;
}

/* Digests or signs the plaintext before it is enciphered, because it may be enciphered in place; but not before it is
 * certain that there will be output: without output "no plaintext is passed to the active digest operation". */
static CK_RV and_encrypt(struct tok_session *session, enum tok_op_kind other, CK_BYTE_PTR in, CK_ULONG len,
                         CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
  struct pair pair;
  CK_ULONG needed = 0;
  CK_RV rv = find_pair(session, TOK_ENCRYPT, other, &pair);
  if (rv == CKR_OK) rv = tok_op_step(session, pair.cipher, TOK_STEP_UPDATE, in, len, NULL, &needed);
  if (rv == CKR_OK && (out == NULL || *out_len < needed)) {
    *out_len = needed;
    return out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
  }
  if (rv == CKR_OK) rv = tok_op_step(session, pair.other, TOK_STEP_UPDATE, in, len, NULL, NULL);
  if (rv == CKR_OK) rv = tok_op_step(session, pair.cipher, TOK_STEP_UPDATE, in, len, out, out_len);
  return end_pair(session, TOK_ENCRYPT, other, rv);
}

/* Digests or verifies what is deciphered; what C_DecryptFinal gives is left to the caller (5.16.2, example). */
static CK_RV decrypt_and(struct tok_session *session, enum tok_op_kind other, CK_BYTE_PTR in, CK_ULONG len,
                         CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
  struct pair pair;
  CK_RV rv = find_pair(session, TOK_DECRYPT, other, &pair);
  if (rv == CKR_OK) rv = tok_op_step(session, pair.cipher, TOK_STEP_UPDATE, in, len, out, out_len);
  if (rv == CKR_OK && out != NULL) rv = tok_op_step(session, pair.other, TOK_STEP_UPDATE, out, *out_len, NULL, NULL);
  return end_pair(session, TOK_DECRYPT, other, rv);
}

CK_RV tok_C_DigestEncryptUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
                                CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
  (void)hSession;
  return and_encrypt(session, TOK_DIGEST, pPart, ulPartLen, pEncryptedPart, pulEncryptedPartLen);
}

CK_RV tok_C_SignEncryptUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart,
                              CK_ULONG ulPartLen, CK_BYTE_PTR pEncryptedPart, CK_ULONG_PTR pulEncryptedPartLen)
{
  (void)hSession;
  return and_encrypt(session, TOK_SIGN, pPart, ulPartLen, pEncryptedPart, pulEncryptedPartLen);
}

CK_RV tok_C_DecryptDigestUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                                CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
  (void)hSession;
  return decrypt_and(session, TOK_DIGEST, pEncryptedPart, ulEncryptedPartLen, pPart, pulPartLen);
}

CK_RV tok_C_DecryptVerifyUpdate(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pEncryptedPart,
                                CK_ULONG ulEncryptedPartLen, CK_BYTE_PTR pPart, CK_ULONG_PTR pulPartLen)
{
  (void)hSession;
  return decrypt_and(session, TOK_VERIFY, pEncryptedPart, ulEncryptedPartLen, pPart, pulPartLen);
}
