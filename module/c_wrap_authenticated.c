/* C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated (PKCS #11 3.2, 5.18.5 and 5.18.6): with CKM_AES_GCM and CKM_AES_CCM,
 * whose parameters are those of message encryption. The tag lies in the parameter and not behind the wrapped key, and the
 * associated data is an argument. */
#include <string.h>

#include "core/entry.h"
#include "core/module.h"
#include "crypto/aead.h"
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
  const struct tok_mech *mech = tok_mech_find(from->mechanism);
  struct tok_aead_message m;
  if (mech == NULL || (from->mechanism != CKM_AES_GCM && from->mechanism != CKM_AES_CCM)) return CKR_MECHANISM_INVALID;
  CK_RV rv = tok_aead_message_read(mech->arg, from->pParameter, from->ulParameterLen, &m);
  if (rv != CKR_OK) return rv;
  *to = (struct translated){
      .mechanism = {from->mechanism, NULL, 0}
  };
  if (from->mechanism == CKM_AES_GCM) {
    to->param.gcm = (CK_GCM_WRAP_PARAMS){m.iv, m.iv_len, m.fixed_bits, m.generator, aad, aad_len, 8 * m.tag_len};
    to->mechanism.ulParameterLen = sizeof to->param.gcm;
  } else {
    to->param.ccm = (CK_CCM_WRAP_PARAMS){0, m.iv, m.iv_len, m.fixed_bits, m.generator, aad, aad_len, m.tag_len};
    to->mechanism.ulParameterLen = sizeof to->param.ccm;
  }
  to->mechanism.pParameter = &to->param;
  to->tag = m.tag;
  to->tag_len = m.tag_len;
  return CKR_OK;
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
