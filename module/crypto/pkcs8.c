/* PKCS #8: what private keys are wrapped as (PKCS #11 3.2, 6.7; RFC 5208, 5915, 8017, 8410). */
#include "core/module.h"
#include "crypto/der.h"
#include "crypto/ec_point.h"
#include "crypto/pkey.h"
#include "crypto/spki.h"

/* RSAPrivateKey, in its order. */
static const CK_ATTRIBUTE_TYPE rsa_parts[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1,
                                              CKA_PRIME_2, CKA_EXPONENT_1,      CKA_EXPONENT_2,       CKA_COEFFICIENT};
#define RSA_PARTS (sizeof rsa_parts / sizeof rsa_parts[0])

static void put_version(struct tok_der_out *out, CK_BYTE version)
{
  tok_der_put(out, TOK_DER_INTEGER, &version, 1);
}

/* The key that a PrivateKeyInfo holds. CKR_KEY_UNEXTRACTABLE if an RSA key's primes are not known: it cannot be written
 * then, says the standard. */
static CK_RV put_key(const struct tok_attrs *attrs, struct tok_der_out *out)
{
  CK_ULONG len = 0, point_len = 0;
  const CK_BYTE *value = tok_attrs_get(attrs, CKA_VALUE, &len), *point = NULL;
  const struct tok_curve *curve = NULL;
  size_t begin = tok_der_begin(out);
  CK_RV rv;
  switch (tok_attrs_ulong(attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION)) {
    case CKK_RSA:
      put_version(out, 0);
      for (size_t i = 0; i < RSA_PARTS; i++) {
        value = tok_attrs_get(attrs, rsa_parts[i], &len);
        if (value == NULL) return CKR_KEY_UNEXTRACTABLE;
        tok_der_put_unsigned(out, value, len);
      }
      tok_der_end(out, begin, TOK_DER_SEQUENCE);
      return CKR_OK;
    case CKK_DSA:
    case CKK_DH:
      if (value == NULL) return CKR_KEY_UNEXTRACTABLE;
      tok_der_put_unsigned(out, value, len);
      return CKR_OK;
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY:
      if (value == NULL) return CKR_KEY_UNEXTRACTABLE;
      tok_der_put(out, TOK_DER_OCTET_STRING, value, len);
      return CKR_OK;
    case CKK_EC: break;
    default: return CKR_KEY_NOT_WRAPPABLE;
  }
  rv = tok_attrs_curve(attrs, &curve);
  if (rv != CKR_OK || value == NULL) return CKR_KEY_UNEXTRACTABLE;
  put_version(out, 1);
  size_t octets = tok_der_begin(out);
  for (CK_ULONG i = len; i < curve->size; i++) tok_der_bytes(out, "", 1); /* as long as the order */
  tok_der_bytes(out, value, len);
  tok_der_end(out, octets, TOK_DER_OCTET_STRING);
  const CK_BYTE *stored = tok_attrs_get(attrs, CKA_EC_POINT, &point_len);
  if (stored != NULL && tok_point_bytes(curve, stored, point_len, &point)) {
    size_t tagged = tok_der_begin(out), bits = tagged;
    tok_der_bytes(out, "", 1);
    tok_der_bytes(out, point, tok_curve_point_size(curve));
    tok_der_end(out, bits, TOK_DER_BIT_STRING);
    tok_der_end(out, tagged, TOK_DER_CONTEXT + 1);
  }
  tok_der_end(out, begin, TOK_DER_SEQUENCE);
  return CKR_OK;
}

CK_RV tok_pkcs8_write(struct tok_object *key, CK_BYTE **out, CK_ULONG *len)
{
  struct tok_der_out der = {NULL, 0, 0, false};
  size_t begin = tok_der_begin(&der);
  put_version(&der, 0);
  CK_RV rv = tok_spki_algorithm(&key->attrs, &der);
  if (rv == CKR_OK) {
    size_t octets = tok_der_begin(&der);
    rv = put_key(&key->attrs, &der);
    tok_der_end(&der, octets, TOK_DER_OCTET_STRING);
  } else if (rv == CKR_KEY_TYPE_INCONSISTENT) {
    rv = CKR_KEY_NOT_WRAPPABLE;
  }
  tok_der_end(&der, begin, TOK_DER_SEQUENCE);
  if (rv != CKR_OK) {
    tok_wipe_free(der.data, der.room);
    return rv;
  }
  return tok_der_finish(&der, out, len);
}

/* Sets numbers that stand one after the other in `in`. */
static CK_RV take_numbers(struct tok_der *in, struct tok_attrs *attrs, const CK_ATTRIBUTE_TYPE *types, size_t count)
{
  struct tok_der value;
  CK_RV rv = CKR_OK;
  for (size_t i = 0; i < count && rv == CKR_OK; i++)
    rv = tok_der_unsigned(in, &value) ? tok_attrs_set(attrs, types[i], value.at, value.left) : CKR_WRAPPED_KEY_INVALID;
  return rv;
}

static bool take_version(struct tok_der *in, CK_BYTE most)
{
  struct tok_der version;
  return tok_der_next(in, TOK_DER_INTEGER, &version) && version.left == 1 && version.at[0] <= most;
}

/* The parameters of the algorithm: of DSA and DH the domain, of CKK_EC the curve. */
static CK_RV take_parameters(CK_KEY_TYPE type, const struct tok_der *algorithm, struct tok_der *parameters,
                             struct tok_attrs *attrs)
{
  static const CK_ATTRIBUTE_TYPE dsa[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE}, dh[] = {CKA_PRIME, CKA_BASE};
  struct tok_der domain, whole;
  switch (type) {
    case CKK_DSA:
    case CKK_DH:
      if (!tok_der_next(parameters, TOK_DER_SEQUENCE, &domain)) return CKR_WRAPPED_KEY_INVALID;
      return type == CKK_DSA ? take_numbers(&domain, attrs, dsa, 3) : take_numbers(&domain, attrs, dh, 2);
    case CKK_EC:
      if (!tok_der_any(parameters, &whole)) return CKR_WRAPPED_KEY_INVALID;
      return tok_attrs_set(attrs, CKA_EC_PARAMS, whole.at, whole.left);
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY: /* the algorithm is the curve */
      return tok_attrs_set(attrs, CKA_EC_PARAMS, algorithm->at, algorithm->left);
    default: return CKR_OK;
  }
}

static CK_RV take_key(CK_KEY_TYPE type, struct tok_der *in, struct tok_attrs *attrs)
{
  static const CK_ATTRIBUTE_TYPE value = CKA_VALUE;
  struct tok_der key, secret;
  switch (type) {
    case CKK_RSA:
      if (!tok_der_next(in, TOK_DER_SEQUENCE, &key) || !take_version(&key, 0)) return CKR_WRAPPED_KEY_INVALID;
      return take_numbers(&key, attrs, rsa_parts, RSA_PARTS);
    case CKK_EC:
      if (!tok_der_next(in, TOK_DER_SEQUENCE, &key) || !take_version(&key, 1) ||
          !tok_der_next(&key, TOK_DER_OCTET_STRING, &secret))
        return CKR_WRAPPED_KEY_INVALID;
      return tok_attrs_set(attrs, CKA_VALUE, secret.at, secret.left);
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY:
      if (!tok_der_next(in, TOK_DER_OCTET_STRING, &secret)) return CKR_WRAPPED_KEY_INVALID;
      return tok_attrs_set(attrs, CKA_VALUE, secret.at, secret.left);
    default: return take_numbers(in, attrs, &value, 1);
  }
}

CK_RV tok_pkcs8_read(const CK_BYTE *der, CK_ULONG len, struct tok_attrs *attrs)
{
  struct tok_der in = {der, len}, info, algorithm, whole, oid, key;
  if (!tok_der_next(&in, TOK_DER_SEQUENCE, &info) || !take_version(&info, 1) ||
      !tok_der_next(&info, TOK_DER_SEQUENCE, &algorithm) || !tok_der_any(&algorithm, &whole) ||
      !tok_der_next(&info, TOK_DER_OCTET_STRING, &key))
    return CKR_WRAPPED_KEY_INVALID;
  /* A cipher without padding leaves the zeros that filled up its last block. */
  for (size_t i = 0; i < in.left; i++)
    if (in.at[i] != 0) return CKR_WRAPPED_KEY_INVALID;
  struct tok_der copy = whole;
  if (!tok_der_next(&copy, TOK_DER_OID, &oid)) return CKR_WRAPPED_KEY_INVALID;
  CK_KEY_TYPE type = tok_spki_type(&oid), wanted = tok_attrs_ulong(attrs, CKA_KEY_TYPE, type);
  if (type == CK_UNAVAILABLE_INFORMATION || wanted != type) return CKR_WRAPPED_KEY_INVALID;
  CK_RV rv = tok_attrs_set_ulong(attrs, CKA_KEY_TYPE, type);
  if (rv == CKR_OK) rv = take_parameters(type, &whole, &algorithm, attrs);
  if (rv == CKR_OK) rv = take_key(type, &key, attrs);
  return rv;
}
