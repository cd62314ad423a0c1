/* From attributes to EVP_PKEY. */
#include "crypto/pkey.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "core/module.h"
#include "crypto/ec_point.h"
#include "crypto/key_numbers.h"

static CK_RV from_data(const char *name, bool private, OSSL_PARAM *params, EVP_PKEY **pkey)
{
  EVP_PKEY_CTX *ctx = tok_pkey_context(name);
  CK_RV rv = CKR_HOST_MEMORY;
  if (ctx == NULL) goto out;
  rv = CKR_ATTRIBUTE_VALUE_INVALID;
  ERR_set_mark();
  *pkey = NULL;
  if (EVP_PKEY_fromdata_init(ctx) == 1 &&
      EVP_PKEY_fromdata(ctx, pkey, private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) == 1)
    rv = CKR_OK;
  ERR_pop_to_mark();
out:
  EVP_PKEY_CTX_free(ctx);
  return rv;
}

/* A big-endian number as OSSL_PARAM has it: in the machine's order. */
static void turn(CK_BYTE *to, const CK_BYTE *from, CK_ULONG len)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  for (CK_ULONG i = 0; i < len; i++) to[i] = from[len - 1 - i];
#else
  memcpy(to, from, len);
#endif
}

/* RSA, DSA and DH. */
static CK_RV from_numbers(const struct tok_attrs *attrs, const struct tok_numbers *numbers, bool private,
                          EVP_PKEY **pkey)
{
  const CK_BYTE *values[TOK_MAX_NUMBERS];
  CK_ULONG lens[TOK_MAX_NUMBERS], total = 0;
  OSSL_PARAM params[TOK_MAX_NUMBERS + 1];
  size_t count = 0;
  for (; count < numbers->count; count++) {
    values[count] = tok_attrs_get(attrs, numbers->list[count].type, &lens[count]);
    if (values[count] == NULL || lens[count] == 0) break;
    total += lens[count];
  }
  if (count < numbers->needed) return CKR_TEMPLATE_INCOMPLETE;
  if (count < numbers->count) count = numbers->needed; /* all primes or none */
  CK_BYTE *memory = tok_alloc(total), *at = memory;
  if (memory == NULL) return CKR_HOST_MEMORY;
  for (size_t i = 0; i < count; at += lens[i], i++) {
    turn(at, values[i], lens[i]);
    params[i] = OSSL_PARAM_construct_BN(numbers->list[i].name, at, lens[i]);
  }
  params[count] = OSSL_PARAM_construct_end();
  CK_RV rv = from_data(numbers->name, private, params, pkey);
  tok_wipe_free(memory, total);
  return rv;
}

/* Elliptic curve keys of all kinds. A private key's point is taken from CKA_EC_POINT, which tok_material_complete has set,
 * or computed. */
static CK_RV from_curve(const struct tok_attrs *attrs, bool private, EVP_PKEY **pkey)
{
  const struct tok_curve *curve = NULL;
  CK_BYTE computed[TOK_MAX_POINT], secret[66];
  CK_ULONG point_len = 0, value_len = 0;
  OSSL_PARAM params[4], *param = params;
  CK_RV rv = tok_attrs_curve(attrs, &curve);
  if (rv != CKR_OK) return rv;
  const CK_BYTE *point = tok_attrs_get(attrs, CKA_EC_POINT, &point_len);
  const CK_BYTE *value = private ? tok_attrs_get(attrs, CKA_VALUE, &value_len) : NULL;
  if (private ? value == NULL : point == NULL) return CKR_TEMPLATE_INCOMPLETE;
  if (point != NULL && !tok_point_bytes(curve, point, point_len, &point)) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (point == NULL) {
    rv = tok_point_of(curve, value, value_len, computed);
    if (rv != CKR_OK) return rv;
    point = computed;
  }
  bool weierstrass = curve->kind == TOK_WEIERSTRASS;
  if (weierstrass)
    *param++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)curve->name, 0);
  *param++ =
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point, tok_curve_point_size(curve));
  if (private && value_len > sizeof secret) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (private && weierstrass) {
    turn(secret, value, value_len);
    *param++ = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, secret, value_len);
  } else if (private) {
    memcpy(secret, value, value_len);
    *param++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, secret, value_len);
  }
  *param = OSSL_PARAM_construct_end();
  rv = from_data(weierstrass ? "EC" : curve->name, private, params, pkey);
  OPENSSL_cleanse(secret, sizeof secret);
  return rv;
}

CK_RV tok_attrs_to_pkey(const struct tok_attrs *attrs, EVP_PKEY **pkey)
{
  CK_KEY_TYPE type = tok_attrs_ulong(attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  CK_OBJECT_CLASS class = tok_attrs_ulong(attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  if (class != CKO_PUBLIC_KEY && class != CKO_PRIVATE_KEY) return CKR_KEY_TYPE_INCONSISTENT;
  bool private = class == CKO_PRIVATE_KEY;
  if (type == CKK_EC || type == CKK_EC_EDWARDS || type == CKK_EC_MONTGOMERY) return from_curve(attrs, private, pkey);
  const struct tok_numbers *numbers = tok_key_numbers(type, private);
  return numbers != NULL ? from_numbers(attrs, numbers, private, pkey) : CKR_KEY_TYPE_INCONSISTENT;
}

CK_RV tok_object_pkey(struct tok_object *object, EVP_PKEY **pkey)
{
  EVP_PKEY *fresh = NULL, *present = atomic_load_explicit(&object->pkey, memory_order_acquire);
  if (present != NULL) {
    *pkey = present;
    return CKR_OK;
  }
  CK_RV rv = tok_attrs_to_pkey(&object->attrs, &fresh);
  if (rv == CKR_HOST_MEMORY || rv == CKR_KEY_TYPE_INCONSISTENT) return rv;
  if (rv != CKR_OK) return CKR_KEY_HANDLE_INVALID;
  /* Two threads may both have made one: the first stays. */
  if (!atomic_compare_exchange_strong(&object->pkey, &present, fresh)) {
    EVP_PKEY_free(fresh);
    fresh = present;
  }
  *pkey = fresh;
  return CKR_OK;
}
