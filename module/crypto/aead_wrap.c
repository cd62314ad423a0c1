/* Wrapping keys with CKM_AES_GCM and CKM_AES_CCM.
 *
 * Since 3.1 C_WrapKey has parameters of its own (CK_GCM_WRAP_PARAMS, CK_CCM_WRAP_PARAMS), in which the token may be
 * asked to make the nonce; before, it had those of C_EncryptInit. Both are taken. */
#include <openssl/rand.h>

#include "core/module.h"
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

/* Makes what is not fixed of the nonce, in the caller's memory. Counters begin at zero with each C_WrapKey, which
 * has no state: the second key would be wrapped with the nonce of the first, so they are refused. */
static CK_RV make_iv(const struct plain *plain)
{
  if (plain->generator == CKG_NO_GENERATE) return CKR_OK;
  if (plain->generator != CKG_GENERATE && plain->generator != CKG_GENERATE_RANDOM) return CKR_MECHANISM_PARAM_INVALID;
  if (plain->iv == NULL || plain->iv_len == 0 || plain->iv_len > 256 || plain->fixed_bits > 8 * plain->iv_len)
    return CKR_MECHANISM_PARAM_INVALID;
  /* Fewer than 64 random bits would repeat before long (SP 800-38D, 8.2.2 wants 96 but for fixed fields of its own). */
  if (8 * plain->iv_len - plain->fixed_bits < 64) return CKR_MECHANISM_PARAM_INVALID;
  CK_BYTE fresh[256];
  if (RAND_bytes_ex(tok_module->crypto, fresh, plain->iv_len, 0) != 1) return CKR_FUNCTION_FAILED;
  for (CK_ULONG i = 0; i < plain->iv_len; i++) {
    CK_ULONG fixed = plain->fixed_bits > 8 * i ? plain->fixed_bits - 8 * i : 0; /* bits of this byte, from the left */
    CK_BYTE keep = fixed >= 8 ? 0xff : (CK_BYTE)(0xff00 >> fixed);
    plain->iv[i] = (CK_BYTE)((plain->iv[i] & keep) | (fresh[i] & ~keep));
  }
  return CKR_OK;
}

CK_RV tok_aead_wrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *wrapping_key,
                    const CK_BYTE *secret, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  struct plain plain;
  make_plain(&plain, mech, mechanism, len);
  CK_RV rv = make_iv(&plain);
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
