/* From EVP_PKEY to attributes. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "core/module.h"
#include "crypto/ec_point.h"
#include "crypto/key_numbers.h"
#include "crypto/pkey.h"

CK_KEY_TYPE tok_pkey_type(const EVP_PKEY *pkey)
{
  static const struct {
    const char *name;
    CK_KEY_TYPE type;
  } types[] = {
      {"RSA",     CKK_RSA          },
      {"EC",      CKK_EC           },
      {"DSA",     CKK_DSA          },
      {"DH",      CKK_DH           },
      {"ED25519", CKK_EC_EDWARDS   },
      {"ED448",   CKK_EC_EDWARDS   },
      {"X25519",  CKK_EC_MONTGOMERY},
      {"X448",    CKK_EC_MONTGOMERY},
  };
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (EVP_PKEY_is_a(pkey, types[i].name) == 1) return types[i].type;
  return CK_UNAVAILABLE_INFORMATION;
}

/* One number of `pkey`, at least `size` bytes long (leading zeros). */
static CK_RV set_number(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, const EVP_PKEY *pkey, const char *name,
                        CK_ULONG size)
{
  BIGNUM *value = NULL;
  CK_BYTE *bytes = NULL;
  CK_RV rv = CKR_FUNCTION_FAILED;
  if (EVP_PKEY_get_bn_param(pkey, name, &value) != 1) goto out;
  if ((CK_ULONG)BN_num_bytes(value) > size) size = (CK_ULONG)BN_num_bytes(value);
  bytes = tok_alloc(size);
  rv = CKR_HOST_MEMORY;
  if (bytes == NULL || BN_bn2binpad(value, bytes, (int)size) < 0) goto out;
  rv = tok_attrs_set(attrs, type, bytes, size);
out:
  tok_wipe_free(bytes, size);
  BN_clear_free(value);
  return rv;
}

static CK_RV set_numbers(struct tok_attrs *attrs, const struct tok_numbers *numbers, const EVP_PKEY *pkey)
{
  CK_RV rv = CKR_OK;
  ERR_set_mark();
  for (size_t i = 0; i < numbers->count && rv == CKR_OK; i++) {
    rv = set_number(attrs, numbers->list[i].type, pkey, numbers->list[i].name, 1);
    if (rv == CKR_FUNCTION_FAILED && i >= numbers->needed) rv = CKR_OK; /* RSA without primes */
  }
  ERR_pop_to_mark();
  return rv;
}

/* CKA_EC_PARAMS, CKA_EC_POINT and CKA_VALUE. The parameters stay if they name the curve already, in whatever form. */
static CK_RV set_curve(struct tok_attrs *attrs, const EVP_PKEY *pkey, bool private)
{
  char name[64] = "";
  size_t len = 0;
  CK_BYTE bytes[TOK_MAX_POINT];
  CK_ULONG params_len = 0;
  const struct tok_curve *curve = NULL, *present = NULL;
  bool group = EVP_PKEY_is_a(pkey, "EC") == 1;
  if (group && EVP_PKEY_get_group_name(pkey, name, sizeof name, &len) != 1) return CKR_FUNCTION_FAILED;
  curve = tok_curve_by_name(group ? name : EVP_PKEY_get0_type_name(pkey));
  if (curve == NULL) return CKR_CURVE_NOT_SUPPORTED;
  const CK_BYTE *params = tok_attrs_get(attrs, CKA_EC_PARAMS, &params_len);
  CK_RV rv = CKR_OK;
  if (params == NULL || tok_curve_find(params, params_len, &present) != CKR_OK || present != curve)
    rv = tok_attrs_set(attrs, CKA_EC_PARAMS, curve->oid, curve->oid_len);
  if (rv != CKR_OK) return rv;
  if (EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes, &len) != 1 ||
      len != tok_curve_point_size(curve))
    return CKR_FUNCTION_FAILED;
  rv = tok_point_set(attrs, curve, bytes);
  if (rv != CKR_OK || !private) return rv;
  if (group) return set_number(attrs, CKA_VALUE, pkey, OSSL_PKEY_PARAM_PRIV_KEY, curve->size);
  rv = CKR_FUNCTION_FAILED;
  if (EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, bytes, sizeof bytes, &len) == 1)
    rv = tok_attrs_set(attrs, CKA_VALUE, bytes, len);
  OPENSSL_cleanse(bytes, sizeof bytes);
  return rv;
}

CK_RV tok_attrs_from_pkey(struct tok_attrs *attrs, const EVP_PKEY *pkey, bool private)
{
  CK_KEY_TYPE type = tok_pkey_type(pkey);
  if (type == CK_UNAVAILABLE_INFORMATION) return CKR_KEY_TYPE_INCONSISTENT;
  const struct tok_numbers *numbers = tok_key_numbers(type, private);
  return numbers != NULL ? set_numbers(attrs, numbers, pkey) : set_curve(attrs, pkey, private);
}
