/* What the rules about mechanisms share. */
#include "decoder/rules/mech/mech_help.h"

#include <inttypes.h>

const char *mech_name(uint64_t type, char *text)
{
  const char *name = p11_constant_name(P11_DOM_CKM, type);
  if (name) return name;
  snprintf(text, 24, "mechanism 0x%" PRIx64, type);
  return text;
}

/* clang-format off */
static const uint32_t flag_of[P11_FUNCTIONS] = {
  [P11_F_C_EncryptInit] = CKF_ENCRYPT,
  [P11_F_C_DecryptInit] = CKF_DECRYPT,
  [P11_F_C_DigestInit] = CKF_DIGEST,
  [P11_F_C_SignInit] = CKF_SIGN,
  [P11_F_C_SignRecoverInit] = CKF_SIGN_RECOVER,
  [P11_F_C_VerifyInit] = CKF_VERIFY,
  [P11_F_C_VerifyRecoverInit] = CKF_VERIFY_RECOVER,
  [P11_F_C_GenerateKey] = CKF_GENERATE,
  [P11_F_C_GenerateKeyPair] = CKF_GENERATE_KEY_PAIR,
  [P11_F_C_WrapKey] = CKF_WRAP,
  [P11_F_C_UnwrapKey] = CKF_UNWRAP,
  [P11_F_C_DeriveKey] = CKF_DERIVE,
  [P11_F_C_MessageEncryptInit] = CKF_MESSAGE_ENCRYPT,
  [P11_F_C_MessageDecryptInit] = CKF_MESSAGE_DECRYPT,
  [P11_F_C_MessageSignInit] = CKF_MESSAGE_SIGN,
  [P11_F_C_MessageVerifyInit] = CKF_MESSAGE_VERIFY,
};
/* clang-format on */

uint64_t mech_flag(int function)
{
  return function >= 0 && function < P11_FUNCTIONS ? flag_of[function] : 0;
}

const char *mech_flag_name(uint64_t flag)
{
  const char *name = p11_constant_name(P11_DOM_CKF_MECHANISM, flag);
  return name ? name : "its flag";
}

bool mech_given(const struct call *call, uint64_t *type)
{
  const int i = pick_kind(call, P11_K_MECHANISM);
  if (i < 0 || call->arg[i].in.what != VALUE_MECHANISM || call->arg[i].in.pointer == P11T_P_NULL) return false;
  *type = call->arg[i].in.number;
  return true;
}

/* C_WrapKey names two keys: the one that the mechanism works with stands first. */
const struct model_object *mech_key(const struct check *check, const struct call *call)
{
  uint64_t handle;
  const int i = pick_kind(call, P11_K_KEY);
  return i >= 0 && pick_in(call, (unsigned)i, &handle) ? model_object(check->place.module, handle) : NULL;
}

uint64_t mech_key_type(uint64_t type)
{
  switch (type) {
    case CKM_RSA_PKCS:
    case CKM_RSA_X_509:
    case CKM_RSA_PKCS_OAEP:
    case CKM_RSA_PKCS_PSS:
    case CKM_SHA1_RSA_PKCS:
    case CKM_SHA224_RSA_PKCS:
    case CKM_SHA256_RSA_PKCS:
    case CKM_SHA384_RSA_PKCS:
    case CKM_SHA512_RSA_PKCS:
    case CKM_SHA1_RSA_PKCS_PSS:
    case CKM_SHA224_RSA_PKCS_PSS:
    case CKM_SHA256_RSA_PKCS_PSS:
    case CKM_SHA384_RSA_PKCS_PSS:
    case CKM_SHA512_RSA_PKCS_PSS: return CKK_RSA;
    case CKM_DSA:
    case CKM_DSA_SHA1:
    case CKM_DSA_SHA224:
    case CKM_DSA_SHA256:
    case CKM_DSA_SHA384:
    case CKM_DSA_SHA512: return CKK_DSA;
    case CKM_ECDSA:
    case CKM_ECDSA_SHA1:
    case CKM_ECDSA_SHA224:
    case CKM_ECDSA_SHA256:
    case CKM_ECDSA_SHA384:
    case CKM_ECDSA_SHA512: return CKK_EC;
    case CKM_AES_ECB:
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
    case CKM_AES_CTR:
    case CKM_AES_CTS:
    case CKM_AES_GCM:
    case CKM_AES_CCM:
    case CKM_AES_MAC:
    case CKM_AES_CMAC:
    case CKM_AES_KEY_WRAP:
    case CKM_AES_KEY_WRAP_PAD: return CKK_AES;
    case CKM_DES3_ECB:
    case CKM_DES3_CBC:
    case CKM_DES3_CBC_PAD: return CKK_DES3;
    default: return CK_UNAVAILABLE_INFORMATION;
  }
}

bool mech_restricted(const struct model_object *key)
{
  const struct model_attribute *a = model_attribute(key, CKA_ALLOWED_MECHANISMS);
  return a && a->length != UINT64_MAX && a->length > 0;
}

bool mech_is_pss(uint64_t type)
{
  switch (type) {
    case CKM_RSA_PKCS_PSS:
    case CKM_SHA1_RSA_PKCS_PSS:
    case CKM_SHA224_RSA_PKCS_PSS:
    case CKM_SHA256_RSA_PKCS_PSS:
    case CKM_SHA384_RSA_PKCS_PSS:
    case CKM_SHA512_RSA_PKCS_PSS: return true;
    default: return false;
  }
}

bool mech_elsewhere(uint64_t rv)
{
  switch (rv) {
    case CKR_HOST_MEMORY:
    case CKR_SLOT_ID_INVALID:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_MEMORY:
    case CKR_DEVICE_REMOVED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_KEY_HANDLE_INVALID:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_FUNCTION_CANCELED:
    case CKR_PENDING: return true;
    default: return false;
  }
}
