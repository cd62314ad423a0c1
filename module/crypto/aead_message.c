/* CK_GCM_MESSAGE_PARAMS, CK_CCM_MESSAGE_PARAMS and CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS: the nonce, how it is made, and
 * the tag, which does not follow the ciphertext here. */
#include <string.h>

#include "crypto/aead.h"
#include "crypto/args.h"
#include "crypto/op.h"

CK_ULONG tok_aead_message_size(unsigned arg)
{
  switch (arg) {
    case TOK_AES_GCM: return sizeof(CK_GCM_MESSAGE_PARAMS);
    case TOK_AES_CCM: return sizeof(CK_CCM_MESSAGE_PARAMS);
    default: return sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS);
  }
}

CK_RV tok_aead_message_read(unsigned arg, const void *param, CK_ULONG len, struct tok_aead_message *m)
{
  if (param == NULL || len != tok_aead_message_size(arg)) return CKR_MECHANISM_PARAM_INVALID;
  if (arg == TOK_AES_GCM) {
    const CK_GCM_MESSAGE_PARAMS *p = param;
    if (p->ulTagBits % 8 != 0) return CKR_MECHANISM_PARAM_INVALID;
    *m = (struct tok_aead_message){p->pIv, p->ulIvLen, p->ulIvFixedBits, p->ivGenerator, p->pTag, p->ulTagBits / 8, 0};
  } else if (arg == TOK_AES_CCM) {
    const CK_CCM_MESSAGE_PARAMS *p = param;
    *m = (struct tok_aead_message){p->pNonce, p->ulNonceLen, p->ulNonceFixedBits, p->nonceGenerator,
                                   p->pMAC,   p->ulMACLen,   p->ulDataLen};
  } else {
    const CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS *p = param;
    *m = (struct tok_aead_message){p->pNonce, p->ulNonceLen, 0, CKG_NO_GENERATE, p->pTag, 16, 0};
  }
  return m->tag != NULL && m->tag_len <= 16 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

CK_RV tok_aead_message_begin(struct tok_op *messages, const struct tok_aead_message *m, const CK_BYTE *iv, CK_BYTE *aad,
                             CK_ULONG aad_len, struct tok_op **message)
{
  CK_BYTE_PTR nonce = (CK_BYTE_PTR)iv;
  union {
    CK_GCM_PARAMS gcm;
    CK_CCM_PARAMS ccm;
    CK_SALSA20_CHACHA20_POLY1305_PARAMS chacha;
  } param;
  CK_MECHANISM mechanism = {messages->mech->type, &param, 0};
  if (messages->mech->arg == TOK_AES_GCM) {
    param.gcm = (CK_GCM_PARAMS){nonce, m->iv_len, 8 * m->iv_len, aad, aad_len, 8 * m->tag_len};
    mechanism.ulParameterLen = sizeof param.gcm;
  } else if (messages->mech->arg == TOK_AES_CCM) {
    param.ccm = (CK_CCM_PARAMS){m->data_len, nonce, m->iv_len, aad, aad_len, m->tag_len};
    mechanism.ulParameterLen = sizeof param.ccm;
  } else {
    param.chacha = (CK_SALSA20_CHACHA20_POLY1305_PARAMS){nonce, m->iv_len, aad, aad_len};
    mechanism.ulParameterLen = sizeof param.chacha;
  }
  return tok_op_message(messages, &mechanism, message);
}
