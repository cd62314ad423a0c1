/* The table of mechanisms. */
#include "crypto/mech.h"

#include <stdatomic.h>

#include "config/config.h"
#include "core/module.h"
#include "crypto/args.h"
#include "crypto/hash.h"

/* clang-format off */
#define M(mechanism, key, min, max, flags, family, ...) \
  extern const struct tok_family tok_family_##family __attribute__((visibility("hidden")));
#include "crypto/mechanisms.def"

#define ANY CK_UNAVAILABLE_INFORMATION
#define M(mechanism, key, min, max, flags, family, arg, needs) \
  {mechanism, key, min, max, flags, &tok_family_##family, arg, TOK_NEEDS_##needs},
static const struct tok_mech mechs[] = {
#include "crypto/mechanisms.def"
};
#undef ANY
/* clang-format on */
#define MECHS (sizeof mechs / sizeof mechs[0])

static bool switched_on(const struct tok_mech *mech)
{
  switch (mech->needs) {
    case TOK_NEEDS_LEGACY: return tok_module->legacy;
    case TOK_NEEDS_TLS: return tok_module->config->tls;
    case TOK_NEEDS_NOTHING: break;
  }
  return true;
}

/* Where a type was found last time, by its lowest bits: programs use a few mechanisms again and again. Only a hint; what it
 * points to is looked at. */
static _Atomic(unsigned short) hints[64];

const struct tok_mech *tok_mech_find(CK_MECHANISM_TYPE type)
{
  _Atomic(unsigned short) *hint = &hints[(type ^ type >> 6) % 64];
  size_t i = atomic_load_explicit(hint, memory_order_relaxed);
  if (mechs[i].type != type) {
    for (i = 0; i < MECHS && mechs[i].type != type; i++)
      ;
    if (i == MECHS) return NULL;
    atomic_store_explicit(hint, (unsigned short)i, memory_order_relaxed);
  }
  return switched_on(&mechs[i]) ? &mechs[i] : NULL;
}

size_t tok_mech_list(CK_MECHANISM_TYPE *list)
{
  size_t count = 0;
  for (size_t i = 0; i < MECHS; i++) {
    if (!switched_on(&mechs[i])) continue;
    if (list != NULL) list[count] = mechs[i].type;
    count++;
  }
  return count;
}

/* Key types whose mechanisms also take another type: {mechanism's, key's}. */
static const CK_KEY_TYPE also[][2] = {
    {CKK_DES3,         CKK_DES2         },
    {CKK_EC,           CKK_EC_MONTGOMERY}, /* CKM_ECDH1_DERIVE only; see below */
    {CKK_CHACHA20,     CKK_NSS_CHACHA20 },
    {CKK_NSS_CHACHA20, CKK_CHACHA20     },
};

/* CKK_MD5_HMAC ... CKK_SHA512_T_HMAC, of PKCS #11 2.20 and 3.0: keys for HMACs only. */
static bool is_hmac_type(CK_KEY_TYPE key)
{
  switch (key) {
    case CKK_MD5_HMAC:
    case CKK_SHA_1_HMAC:
    case CKK_SHA224_HMAC:
    case CKK_SHA256_HMAC:
    case CKK_SHA384_HMAC:
    case CKK_SHA512_HMAC:
    case CKK_SHA512_224_HMAC:
    case CKK_SHA512_256_HMAC:
    case CKK_SHA3_224_HMAC:
    case CKK_SHA3_256_HMAC:
    case CKK_SHA3_384_HMAC:
    case CKK_SHA3_512_HMAC: return true;
    default: return false;
  }
}

bool tok_mech_takes(const struct tok_mech *mech, CK_KEY_TYPE key, CK_ATTRIBUTE_TYPE usage)
{
  if (mech->key == CK_UNAVAILABLE_INFORMATION || mech->key == key) return true;
  if (mech->key == CKK_GENERIC_SECRET && (usage == CKA_SIGN || usage == CKA_VERIFY))
    return is_hmac_type(key) || key == CKK_HKDF;
  /* NSS exports PKCS #12 with a CKK_GENERIC_SECRET key of AES or DES3 length that it may only wrap with (PK11_WrapPrivKey);
   * SoftHSM and opencryptoki refuse, and the export fails. */
  if (key == CKK_GENERIC_SECRET && (usage == CKA_WRAP || usage == CKA_UNWRAP))
    return mech->key == CKK_AES || mech->key == CKK_DES3;
  for (size_t i = 0; i < sizeof also / sizeof also[0]; i++) {
    if (also[i][0] != mech->key || also[i][1] != key) continue;
    return mech->key != CKK_EC || (mech->flags & CKF_DERIVE) != 0;
  }
  return false;
}
