/* mechanisms.def as two switches: async-signal-safe, no memory but the parameter's own. */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#include <string.h>

#include "spec.h"

/* softoken's bound for a PBKD2 password: a larger ulPasswordLen is a pointer to the length, as 2.40's text had it. */
#define MAX_PBKD2_PASSWORD 8192

static uint64_t word_at(const void *parameter, size_t offset)
{
  CK_ULONG word;
  memcpy(&word, (const unsigned char *)parameter + offset, sizeof word);
  return word;
}

static unsigned pbkd2_struct(const void *parameter, uint64_t size)
{
  if (parameter == NULL || size != sizeof(CK_PKCS5_PBKD2_PARAMS2)) return P11_S_NONE;
  if (word_at(parameter, offsetof(CK_PKCS5_PBKD2_PARAMS2, ulPasswordLen)) <= MAX_PBKD2_PASSWORD) {
    return P11_S_CK_PKCS5_PBKD2_PARAMS2;
  }
  return P11_S_CK_PKCS5_PBKD2_PARAMS;
}

/* CK_GCM_PARAMS and CK_GCM_MESSAGE_PARAMS (C_MessageEncryptInit) have one size. Where one has pAAD the other has
 * ivGenerator: a small number, which is no address. 0 may be either; then the first has no AAD to follow. */
static unsigned gcm_struct(const void *parameter, uint64_t size)
{
  _Static_assert(offsetof(CK_GCM_PARAMS, pAAD) == offsetof(CK_GCM_MESSAGE_PARAMS, ivGenerator), "told apart there");
  if (size == sizeof(CK_NSS_GCM_PARAMS)) return P11_S_CK_NSS_GCM_PARAMS;
  if (size == sizeof(CK_GCM_WRAP_PARAMS)) return P11_S_CK_GCM_WRAP_PARAMS;
  if (parameter == NULL || size != sizeof(CK_GCM_PARAMS)) return P11_S_NONE;
  uint64_t generator = word_at(parameter, offsetof(CK_GCM_MESSAGE_PARAMS, ivGenerator));
  if (generator >= CKG_GENERATE && generator <= CKG_GENERATE_COUNTER_XOR) return P11_S_CK_GCM_MESSAGE_PARAMS;
  return P11_S_CK_GCM_PARAMS;
}

#define FIT(s) \
  if (size == sizeof(s)) return P11_S_##s;
#define STRUCT_NONE
#define STRUCT_IV
#define STRUCT_NUMBER
#define STRUCT_HANDLE
#define STRUCT_VERSION
#define STRUCT_ONE(s)         FIT(s)
#define STRUCT_TWO(s, t)      FIT(s) FIT(t)
#define STRUCT_THREE(s, t, u) FIT(s) FIT(t) FIT(u)
#define STRUCT_GCM            return gcm_struct(parameter, size);
#define STRUCT_PBKD2          return pbkd2_struct(parameter, size);

unsigned p11_mechanism_struct(uint64_t mechanism, const void *parameter, uint64_t size)
{
  switch (mechanism) {
#define M(ckm, kind) \
  case ckm:          \
    STRUCT_##kind break;
#include "mechanisms.def"
    default:
      break;
  }
  return P11_S_NONE;
}

#define PLAIN_NONE           P11_PLAIN_NONE
#define PLAIN_IV             P11_PLAIN_IV
#define PLAIN_NUMBER         P11_PLAIN_NUMBER
#define PLAIN_HANDLE         P11_PLAIN_HANDLE
#define PLAIN_VERSION        P11_PLAIN_VERSION
#define PLAIN_ONE(s)         P11_PLAIN_UNKNOWN /* here the size fitted no structure */
#define PLAIN_TWO(s, t)      P11_PLAIN_UNKNOWN
#define PLAIN_THREE(s, t, u) P11_PLAIN_UNKNOWN
#define PLAIN_GCM            P11_PLAIN_UNKNOWN
#define PLAIN_PBKD2          P11_PLAIN_UNKNOWN

enum p11_plain p11_mechanism_plain(uint64_t mechanism)
{
  switch (mechanism) {
#define M(ckm, kind) \
  case ckm:          \
    return PLAIN_##kind;
#include "mechanisms.def"
    default:
      return P11_PLAIN_UNKNOWN;
  }
}

unsigned p11_message_struct(uint64_t mechanism, uint64_t size)
{
  switch (mechanism) {
    case CKM_AES_GCM:
      return size == sizeof(CK_GCM_MESSAGE_PARAMS) ? P11_S_CK_GCM_MESSAGE_PARAMS : P11_S_NONE;
    case CKM_AES_CCM:
      return size == sizeof(CK_CCM_MESSAGE_PARAMS) ? P11_S_CK_CCM_MESSAGE_PARAMS : P11_S_NONE;
    case CKM_CHACHA20_POLY1305:
    case CKM_SALSA20_POLY1305:
      return size == sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS) ? P11_S_CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS : P11_S_NONE;
    default:
      return P11_S_NONE;
  }
}
