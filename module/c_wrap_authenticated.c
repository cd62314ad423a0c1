/* C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated (PKCS #11 3.2, 5.18.5 and 5.18.6): with CKM_AES_GCM and CKM_AES_CCM,
 * whose parameters are those of message encryption. The tag lies in the parameter and not behind the wrapped key, and the
 * associated data is an argument. */
#include <string.h>

#include "core/entry.h"
#include "core/module.h"
#include "crypto/mech.h"
#include "wrap.h"

/* The parameter as C_WrapKey takes it (CK_GCM_WRAP_PARAMS, CK_CCM_WRAP_PARAMS), and where the tag is. */
struct translated {
  CK_MECHANISM mechanism;
  union {
    CK_GCM_WRAP_PARAMS gcm;
    CK_CCM_WRAP_PARAMS ccm;
  } param;
  CK_BYTE *tag;
  CK_ULONG tag_len;
};

/* CKR_MECHANISM_INVALID for all but the two mechanisms. */
static CK_RV translate(const CK_MECHANISM *from, CK_BYTE *aad, CK_ULONG aad_len, struct translated *to)
{
  CK_MECHANISM given = *from;
  *to = (struct translated){
      .mechanism = {from->mechanism, NULL, 0}
  };
  if (from->mechanism == CKM_AES_GCM) {
    const CK_GCM_MESSAGE_PARAMS *p = tok_mech_param(&given, sizeof *p);
    if (p == NULL || p->ulTagBits % 8 != 0) return CKR_MECHANISM_PARAM_INVALID;
    to->param.gcm =
        (CK_GCM_WRAP_PARAMS){p->pIv, p->ulIvLen, p->ulIvFixedBits, p->ivGenerator, aad, aad_len, p->ulTagBits};
    to->mechanism.pParameter = &to->param.gcm;
    to->mechanism.ulParameterLen = sizeof to->param.gcm;
    to->tag = p->pTag;
    to->tag_len = p->ulTagBits / 8;
  } else if (from->mechanism == CKM_AES_CCM) {
    const CK_CCM_MESSAGE_PARAMS *p = tok_mech_param(&given, sizeof *p);
    if (p == NULL) return CKR_MECHANISM_PARAM_INVALID;
    to->param.ccm = (CK_CCM_WRAP_PARAMS){0,   p->pNonce, p->ulNonceLen, p->ulNonceFixedBits, p->nonceGenerator,
                                         aad, aad_len,   p->ulMACLen};
    to->mechanism.pParameter = &to->param.ccm;
    to->mechanism.ulParameterLen = sizeof to->param.ccm;
    to->tag = p->pMAC;
    to->tag_len = p->ulMACLen;
  } else {
    return CKR_MECHANISM_INVALID;
  }
  return to->tag != NULL && to->tag_len <= 16 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

CK_RV tok_C_WrapKeyAuthenticated(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                 CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pAssociatedData,
                                 CK_ULONG ulAssociatedDataLen, CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen)
{
  (void)hSession;
  struct translated to;
  CK_BYTE *wrapped = NULL;
  CK_ULONG len = 0;
  CK_RV rv = translate(pMechanism, pAssociatedData, ulAssociatedDataLen, &to);
  if (rv == CKR_OK) rv = tok_wrap(session, &to.mechanism, hWrappingKey, hKey, &wrapped, &len);
  if (rv != CKR_OK) return rv;
  if (len < to.tag_len) rv = CKR_FUNCTION_FAILED;
  if (rv == CKR_OK) rv = tok_wrap_output(wrapped, len - to.tag_len, pWrappedKey, pulWrappedKeyLen);
  if (rv == CKR_OK && pWrappedKey != NULL) memcpy(to.tag, wrapped + len - to.tag_len, to.tag_len);
  tok_wipe_free(wrapped, len);
  return rv;
}

CK_RV tok_C_UnwrapKeyAuthenticated(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                                   CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen,
                                   CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_BYTE_PTR pAssociatedData,
                                   CK_ULONG ulAssociatedDataLen, CK_OBJECT_HANDLE_PTR phKey)
{
  (void)hSession;
  struct translated to;
  CK_RV rv = translate(pMechanism, pAssociatedData, ulAssociatedDataLen, &to);
  if (rv != CKR_OK) return rv;
  if (ulWrappedKeyLen > CK_UNAVAILABLE_INFORMATION / 2) return CKR_WRAPPED_KEY_LEN_RANGE;
  CK_ULONG len = ulWrappedKeyLen + to.tag_len;
  CK_BYTE *whole = tok_alloc(len);
  if (whole == NULL) return CKR_HOST_MEMORY;
  memcpy(whole, pWrappedKey, ulWrappedKeyLen);
  memcpy(whole + ulWrappedKeyLen, to.tag, to.tag_len);
  rv = tok_unwrap(session, &to.mechanism, hUnwrappingKey, whole, len, pTemplate, ulAttributeCount, phKey);
  tok_wipe_free(whole, len);
  return rv;
}
