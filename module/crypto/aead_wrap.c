/* Wrapping keys with CKM_AES_GCM and CKM_AES_CCM.
 *
 * Since 3.1 C_WrapKey has parameters of its own (CK_GCM_WRAP_PARAMS, CK_CCM_WRAP_PARAMS), in which the token may be
 * asked to make the nonce; before, it had those of C_EncryptInit. Both are taken. */
#include "crypto/aead.h"
#include "crypto/args.h"
#include "crypto/op.h"

/* A parameter of the old form made of one of the new, and what the new one asks for besides. */
struct plain {
  CK_MECHANISM mechanism;
  union {
    CK_GCM_PARAMS gcm;
    CK_CCM_PARAMS ccm;
  } param;
  CK_BYTE *iv;
  CK_ULONG iv_len, fixed_bits;
  CK_GENERATOR_FUNCTION generator;
};

/* ulDataLen is ignored: "The token will determine the message/data length during the wrap operation" (6.13.6). */
static void plain_ccm(struct plain *plain, CK_ULONG data_len)
{
  const CK_CCM_WRAP_PARAMS *wrap = tok_mech_param(&plain->mechanism, sizeof *wrap);
  const CK_CCM_PARAMS *old = tok_mech_param(&plain->mechanism, sizeof *old);
  if (wrap != NULL) {
    plain->iv = wrap->pNonce;
    plain->iv_len = wrap->ulNonceLen;
    plain->fixed_bits = wrap->ulNonceFixedBits;
    plain->generator = wrap->nonceGenerator;
    plain->param.ccm =
        (CK_CCM_PARAMS){data_len, wrap->pNonce, wrap->ulNonceLen, wrap->pAAD, wrap->ulAADLen, wrap->ulMACLen};
  } else if (old != NULL) {
    plain->param.ccm = *old;
    plain->param.ccm.ulDataLen = data_len;
  } else {
    return;
  }
  plain->mechanism.pParameter = &plain->param.ccm;
  plain->mechanism.ulParameterLen = sizeof plain->param.ccm;
}

static void plain_gcm(struct plain *plain)
{
  const CK_GCM_WRAP_PARAMS *wrap = tok_mech_param(&plain->mechanism, sizeof *wrap);
  if (wrap == NULL) return;
  plain->iv = wrap->pIv;
  plain->iv_len = wrap->ulIvLen;
  plain->fixed_bits = wrap->ulIvFixedBits;
  plain->generator = wrap->ivGenerator;
  plain->param.gcm =
      (CK_GCM_PARAMS){wrap->pIv, wrap->ulIvLen, 8 * wrap->ulIvLen, wrap->pAAD, wrap->ulAADLen, wrap->ulTagBits};
  plain->mechanism.pParameter = &plain->param.gcm;
  plain->mechanism.ulParameterLen = sizeof plain->param.gcm;
}

static void make_plain(struct plain *plain, const struct tok_mech *mech, const CK_MECHANISM *mechanism,
                       CK_ULONG data_len)
{
  *plain = (struct plain){.mechanism = *mechanism, .generator = CKG_NO_GENERATE};
  if (mech->arg == TOK_AES_CCM)
    plain_ccm(plain, data_len);
  else
    plain_gcm(plain);
}

CK_RV tok_aead_wrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *wrapping_key,
                    const CK_BYTE *secret, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  struct plain plain;
  make_plain(&plain, mech, mechanism, len);
  /* C_WrapKey has no state: a counter would give the second key the nonce of the first. */
  CK_RV rv = tok_aead_make_iv(NULL, plain.generator, plain.iv, plain.iv_len, plain.fixed_bits);
  if (rv != CKR_OK) return rv;
  return tok_op_run(mech, TOK_ENCRYPT, &plain.mechanism, wrapping_key, secret, len, out, out_len);
}

CK_RV tok_aead_unwrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *unwrapping_key,
                      const CK_BYTE *wrapped, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  struct plain plain;
  make_plain(&plain, mech, mechanism, 0);
  if (mech->arg == TOK_AES_CCM && plain.mechanism.pParameter == &plain.param.ccm && len >= plain.param.ccm.ulMACLen)
    plain.param.ccm.ulDataLen = len - plain.param.ccm.ulMACLen;
  return tok_op_run(mech, TOK_DECRYPT, &plain.mechanism, unwrapping_key, wrapped, len, out, out_len);
}
