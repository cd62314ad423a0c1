/* What depends on what: return codes on data, outputs on chance, attributes on the key. */
#include "decoder/replay/live_part.h"

/* A decryption, or the use of an object made of anything, may fail without more words; a verification has a code for what it finds,
 * and a question for a length has nothing to fail on. */
static bool may_fail(const struct call *call)
{
  const struct live_role *role = live_role(call->known);
  if (live_is_size_query(call)) return false;
  if (role->ops & (1u << LIVE_VERIFY | 1u << LIVE_MESSAGE_VERIFY)) return false;
  return role->consumes || call->info->class == P11_CLASS_OBJECT;
}

/* Codes that other bytes of the same length, or another key of the same kind, may turn into others. All the rest is about
 * handles, states, rights, devices. */
bool code_depends_on_data(const struct call *call, uint64_t rv)
{
  switch (rv) {
    case CKR_OK:
    case CKR_ARGUMENTS_BAD:
    case CKR_DATA_INVALID:
    case CKR_DATA_LEN_RANGE:
    case CKR_ENCRYPTED_DATA_INVALID:
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
    case CKR_AEAD_DECRYPT_FAILED:
    case CKR_SIGNATURE_INVALID:
    case CKR_SIGNATURE_LEN_RANGE:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_DOMAIN_PARAMS_INVALID:
    case CKR_CURVE_NOT_SUPPORTED:
    case CKR_KEY_SIZE_RANGE:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_WRAPPED_KEY_INVALID:
    case CKR_WRAPPED_KEY_LEN_RANGE:
    case CKR_UNWRAPPING_KEY_SIZE_RANGE:
    case CKR_PUBLIC_KEY_INVALID:
    case CKR_SAVED_STATE_INVALID: return true;
    /* The value of a key that was unwrapped from other bytes has another length. */
    case CKR_BUFFER_TOO_SMALL:
      return call->known == P11_F_C_GetAttributeValue ||
             (live_role(call->known)->consumes && !live_is_size_query(call));
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED: return may_fail(call);
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_LOCKED:
    case CKR_PIN_TOO_WEAK: return call->info->class == P11_CLASS_LOGIN;
    default: return false;
  }
}

/* C_GetAttributeValue goes through the whole template on these (2.40, 5.7). */
bool code_fills_template(uint64_t rv)
{
  return rv == CKR_OK || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
         rv == CKR_BUFFER_TOO_SMALL;
}

/* The same key, parameter and data give the same bytes. */
bool mechanism_is_deterministic(uint64_t mechanism)
{
  switch (mechanism) {
    case CKM_RSA_PKCS:
    case CKM_RSA_X_509:
    case CKM_MD5_RSA_PKCS:
    case CKM_SHA1_RSA_PKCS:
    case CKM_SHA224_RSA_PKCS:
    case CKM_SHA256_RSA_PKCS:
    case CKM_SHA384_RSA_PKCS:
    case CKM_SHA512_RSA_PKCS:
    case CKM_MD5_HMAC:
    case CKM_SHA_1_HMAC:
    case CKM_SHA224_HMAC:
    case CKM_SHA256_HMAC:
    case CKM_SHA384_HMAC:
    case CKM_SHA512_HMAC:
    case CKM_SHA_1_HMAC_GENERAL:
    case CKM_SHA224_HMAC_GENERAL:
    case CKM_SHA256_HMAC_GENERAL:
    case CKM_SHA384_HMAC_GENERAL:
    case CKM_SHA512_HMAC_GENERAL:
    case CKM_SHA3_256_HMAC:
    case CKM_SHA3_384_HMAC:
    case CKM_SHA3_512_HMAC:
    case CKM_AES_MAC:
    case CKM_AES_MAC_GENERAL:
    case CKM_AES_CMAC:
    case CKM_AES_CMAC_GENERAL:
    case CKM_EDDSA:
    case CKM_AES_ECB:
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
    case CKM_AES_CTR:
    case CKM_AES_CTS:
    case CKM_AES_GCM:
    case CKM_AES_CCM:
    case CKM_AES_KEY_WRAP:
    case CKM_AES_KEY_WRAP_PAD:
    case CKM_AES_KEY_WRAP_KWP:
    case CKM_DES_ECB:
    case CKM_DES_CBC:
    case CKM_DES_CBC_PAD:
    case CKM_DES3_ECB:
    case CKM_DES3_CBC:
    case CKM_DES3_CBC_PAD:
    case CKM_CAMELLIA_ECB:
    case CKM_CAMELLIA_CBC:
    case CKM_CAMELLIA_CBC_PAD:
    case CKM_CHACHA20:
    case CKM_CHACHA20_POLY1305: return true;
    default: return false;
  }
}

bool attribute_is_of_key(uint64_t type)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  switch (type) {
    case CKA_PUBLIC_EXPONENT: return false;
    case CKA_VALUE:
    case CKA_EC_POINT:
    case CKA_CHECK_VALUE:
    case CKA_PUBLIC_KEY_INFO:
    case CKA_HASH_OF_SUBJECT_PUBLIC_KEY: return true;
    default: return info == NULL || info->kind == P11_A_INTEGER;
  }
}
