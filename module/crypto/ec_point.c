/* Public points of elliptic curve keys: forms, validation, computing them. */
#include "crypto/ec_point.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "core/module.h"
#include "crypto/der.h"

bool tok_point_bytes(const struct tok_curve *curve, const CK_BYTE *value, CK_ULONG len, const CK_BYTE **point)
{
  struct tok_der in = {value, len}, content = {value, len};
  CK_ULONG size = tok_curve_point_size(curve);
  if (len != size && (!tok_der_next(&in, TOK_DER_OCTET_STRING, &content) || in.left != 0)) return false;
  if (content.left != size || (curve->kind == TOK_WEIERSTRASS && content.at[0] != POINT_CONVERSION_UNCOMPRESSED))
    return false;
  *point = content.at;
  return true;
}

CK_RV tok_point_check(const struct tok_curve *curve, const CK_BYTE *point)
{
  if (curve->kind != TOK_WEIERSTRASS) return CKR_OK;
  EC_GROUP *group = EC_GROUP_new_by_curve_name_ex(tok_module->crypto, NULL, curve->nid);
  EC_POINT *q = group != NULL ? EC_POINT_new(group) : NULL;
  CK_RV rv = CKR_HOST_MEMORY;
  if (q == NULL) goto out;
  rv = CKR_ATTRIBUTE_VALUE_INVALID;
  ERR_set_mark();
  if (EC_POINT_oct2point(group, q, point, tok_curve_point_size(curve), NULL) == 1 &&
      EC_POINT_is_at_infinity(group, q) == 0 && EC_POINT_is_on_curve(group, q, NULL) == 1)
    rv = CKR_OK;
  ERR_pop_to_mark();
out:
  EC_POINT_free(q);
  EC_GROUP_free(group);
  return rv;
}

static CK_RV multiply(const struct tok_curve *curve, const CK_BYTE *value, CK_ULONG len, CK_BYTE *point)
{
  EC_GROUP *group = EC_GROUP_new_by_curve_name_ex(tok_module->crypto, NULL, curve->nid);
  EC_POINT *q = group != NULL ? EC_POINT_new(group) : NULL;
  BIGNUM *d = BN_secure_new();
  CK_ULONG size = tok_curve_point_size(curve);
  CK_RV rv = CKR_HOST_MEMORY;
  if (q == NULL || d == NULL || BN_bin2bn(value, (int)len, d) == NULL) goto out;
  BN_set_flags(d, BN_FLG_CONSTTIME);
  rv = CKR_ATTRIBUTE_VALUE_INVALID;
  if (BN_is_zero(d) || BN_cmp(d, EC_GROUP_get0_order(group)) >= 0) goto out;
  rv = CKR_FUNCTION_FAILED;
  if (EC_POINT_mul(group, q, d, NULL, NULL, NULL) == 1 &&
      EC_POINT_point2oct(group, q, POINT_CONVERSION_UNCOMPRESSED, point, size, NULL) == size)
    rv = CKR_OK;
out:
  BN_clear_free(d);
  EC_POINT_free(q);
  EC_GROUP_free(group);
  return rv;
}

CK_RV tok_point_of(const struct tok_curve *curve, const CK_BYTE *value, CK_ULONG len, CK_BYTE *point)
{
  if (curve->kind == TOK_WEIERSTRASS) {
    while (len > 0 && value[0] == 0) {
      value++;
      len--;
    }
    return len <= curve->size ? multiply(curve, value, len, point) : CKR_ATTRIBUTE_VALUE_INVALID;
  }
  if (len != curve->size) return CKR_ATTRIBUTE_VALUE_INVALID;
  size_t size = curve->size;
  EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key_ex(tok_module->crypto, curve->name, NULL, value, len);
  bool done = pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, point, &size) == 1 && size == curve->size;
  EVP_PKEY_free(pkey);
  return done ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_point_set(struct tok_attrs *attrs, const struct tok_curve *curve, const CK_BYTE *point)
{
  struct tok_der_out out = {NULL, 0, 0, false};
  CK_BYTE *der = NULL;
  CK_ULONG len = 0;
  tok_der_put(&out, TOK_DER_OCTET_STRING, point, tok_curve_point_size(curve));
  CK_RV rv = tok_der_finish(&out, &der, &len);
  if (rv == CKR_OK) rv = tok_attrs_set(attrs, CKA_EC_POINT, der, len);
  tok_wipe_free(der, len);
  return rv;
}

CK_RV tok_attrs_curve(const struct tok_attrs *attrs, const struct tok_curve **curve)
{
  CK_ULONG len = 0;
  const CK_BYTE *params = tok_attrs_get(attrs, CKA_EC_PARAMS, &len);
  if (params == NULL) return CKR_TEMPLATE_INCOMPLETE;
  CK_RV rv = tok_curve_find(params, len, curve);
  if (rv != CKR_OK) return rv;
  enum tok_curve_kind kind = (*curve)->kind;
  switch (tok_attrs_ulong(attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION)) {
    case CKK_EC: return kind != TOK_EDWARDS ? CKR_OK : CKR_CURVE_NOT_SUPPORTED;
    case CKK_EC_MONTGOMERY: return kind == TOK_MONTGOMERY ? CKR_OK : CKR_CURVE_NOT_SUPPORTED;
    case CKK_EC_EDWARDS: return kind == TOK_EDWARDS ? CKR_OK : CKR_CURVE_NOT_SUPPORTED;
    default: return CKR_KEY_TYPE_INCONSISTENT;
  }
}
