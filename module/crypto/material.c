/* Checking and completing the material of new keys. */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <string.h>

#include "core/module.h"
#include "crypto/der.h"
#include "crypto/ec_point.h"
#include "crypto/pkey.h"
#include "crypto/rsa_parts.h"
#include "crypto/secret_material.h"
#include "crypto/spki.h"

/* Sets CKA_PUBLIC_KEY_INFO; one that the caller gave must describe the same key, "if there is a mismatch, the command SHALL
 * return CKR_ATTRIBUTE_VALUE_INVALID" (PKCS #11 3.2, 4.9). Its algorithm may be another (RSA with id-RSASSA-PSS). */
static CK_RV set_info(struct tok_attrs *attrs, const CK_BYTE *value, CK_ULONG value_len)
{
  CK_BYTE *made = NULL;
  CK_ULONG made_len = 0, given_len = 0;
  CK_RV rv = tok_spki_make(attrs, value, value_len, &made, &made_len);
  if (rv != CKR_OK) return rv;
  const CK_BYTE *given = tok_attrs_get(attrs, CKA_PUBLIC_KEY_INFO, &given_len);
  if (given == NULL || given_len == 0) {
    rv = tok_attrs_set(attrs, CKA_PUBLIC_KEY_INFO, made, made_len);
  } else {
    struct tok_der infos[2] =
        {
            {given, given_len},
            {made,  made_len }
    },
                   parts, algorithm, bits[2];
    rv = CKR_OK;
    for (int i = 0; i < 2; i++)
      if (!tok_der_next(&infos[i], TOK_DER_SEQUENCE, &parts) || !tok_der_next(&parts, TOK_DER_SEQUENCE, &algorithm) ||
          !tok_der_next(&parts, TOK_DER_BIT_STRING, &bits[i]))
        rv = CKR_ATTRIBUTE_VALUE_INVALID;
    if (rv == CKR_OK && (bits[0].left != bits[1].left || memcmp(bits[0].at, bits[1].at, bits[0].left) != 0))
      rv = CKR_ATTRIBUTE_VALUE_INVALID;
  }
  tok_wipe_free(made, made_len);
  return rv;
}

/* Numbers without leading zeros, so that a search finds them (NSS strips them from what it searches with). */
static CK_RV strip(struct tok_attrs *attrs, const CK_ATTRIBUTE_TYPE *types, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    CK_ULONG len = 0, zeros = 0;
    const CK_BYTE *value = tok_attrs_get(attrs, types[i], &len);
    if (value == NULL) return CKR_TEMPLATE_INCOMPLETE;
    while (zeros < len && value[zeros] == 0) zeros++;
    if (zeros == len) return CKR_ATTRIBUTE_VALUE_INVALID; /* none of the numbers may be 0 */
    CK_RV rv = zeros > 0 ? tok_attrs_set(attrs, types[i], value + zeros, len - zeros) : CKR_OK;
    if (rv != CKR_OK) return rv;
  }
  return CKR_OK;
}

/* Of a number without leading zeros. */
static CK_ULONG bits_of(const CK_BYTE *value, CK_ULONG len)
{
  if (len == 0) return 0;
  CK_ULONG bits = 8 * (len - 1);
  for (unsigned top = value[0]; top != 0; top >>= 1) bits++;
  return bits;
}

static CK_RV rsa(struct tok_attrs *attrs, bool private)
{
  static const CK_ATTRIBUTE_TYPE types[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT};
  CK_ULONG len = 0, e_len = 0;
  CK_RV rv = private ? tok_rsa_parts_complete(attrs) : strip(attrs, types, 2);
  if (rv != CKR_OK) return rv;
  const CK_BYTE *n = tok_attrs_get(attrs, CKA_MODULUS, &len), *e = tok_attrs_get(attrs, CKA_PUBLIC_EXPONENT, &e_len);
  CK_ULONG bits = bits_of(n, len);
  /* Keys below the size that the mechanisms want can be had, but not used (CKR_KEY_SIZE_RANGE). */
  if (bits < 512 || bits > 16384 || (n[len - 1] & 1) == 0) return CKR_ATTRIBUTE_VALUE_INVALID;
  if ((e[e_len - 1] & 1) == 0 || (e_len == 1 && e[0] == 1) || e_len > len) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (!private) rv = tok_attrs_set_ulong(attrs, CKA_MODULUS_BITS, bits);
  return rv == CKR_OK ? set_info(attrs, NULL, 0) : rv;
}

static BIGNUM *number(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  CK_ULONG len = 0;
  const CK_BYTE *value = tok_attrs_get(attrs, type, &len);
  BIGNUM *n = BN_secure_new();
  if (value == NULL || n == NULL || BN_bin2bn(value, (int)len, n) == NULL) {
    BN_clear_free(n);
    return NULL;
  }
  return n;
}

/* DSA and DH: domain and value in range, the public value of a private key computed. */
static CK_RV finite_field(struct tok_attrs *attrs, CK_KEY_TYPE type, bool private)
{
  static const CK_ATTRIBUTE_TYPE types[] = {CKA_PRIME, CKA_BASE, CKA_VALUE, CKA_SUBPRIME};
  CK_BYTE bytes[10000 / 8];
  CK_ULONG len = 0;
  CK_RV rv = strip(attrs, types, type == CKK_DSA ? 4 : 3);
  if (rv != CKR_OK) return rv;
  const CK_BYTE *prime = tok_attrs_get(attrs, CKA_PRIME, &len);
  CK_ULONG bits = bits_of(prime, len);
  if (bits < 512 || bits > 10000 || (prime[len - 1] & 1) == 0) return CKR_ATTRIBUTE_VALUE_INVALID;
  for (size_t i = 1; i < (type == CKK_DSA ? 4 : 3); i++) {
    CK_ULONG part_len = 0;
    tok_attrs_get(attrs, types[i], &part_len);
    if (part_len > len) return CKR_ATTRIBUTE_VALUE_INVALID;
  }
  BN_CTX *ctx = BN_CTX_secure_new_ex(tok_module->crypto);
  BIGNUM *p = number(attrs, CKA_PRIME), *g = number(attrs, CKA_BASE), *x = number(attrs, CKA_VALUE);
  BIGNUM *q = type == CKK_DSA ? number(attrs, CKA_SUBPRIME) : BN_new(), *y = BN_secure_new();
  rv = CKR_HOST_MEMORY;
  if (ctx == NULL || p == NULL || g == NULL || x == NULL || q == NULL || y == NULL) goto out;
  rv = CKR_ATTRIBUTE_VALUE_INVALID;
  if (BN_cmp(g, p) >= 0 || BN_is_one(g)) goto out;
  if (type == CKK_DSA) {
    if (BN_num_bits(q) < 160 || BN_sub(y, p, BN_value_one()) != 1 || BN_mod(y, y, q, ctx) != 1 || !BN_is_zero(y))
      goto out;
    if (private && BN_cmp(x, q) >= 0) goto out;
  }
  if (private) {
    BN_set_flags(x, BN_FLG_CONSTTIME);
    if (BN_cmp(x, p) >= 0 || BN_mod_exp(y, g, x, p, ctx) != 1) goto out;
    if (type == CKK_DH) rv = tok_attrs_set_ulong(attrs, CKA_VALUE_BITS, (CK_ULONG)BN_num_bits(x));
  } else {
    /* 1 < y < p - 1: other values would make secrets that everybody knows. */
    if (BN_is_one(x) || BN_copy(y, x) == NULL || BN_add_word(x, 1) != 1 || BN_cmp(x, p) >= 0) goto out;
  }
  if (rv == CKR_HOST_MEMORY) goto out;
  rv = set_info(attrs, bytes, (CK_ULONG)BN_bn2bin(y, bytes));
out:
  BN_clear_free(y);
  BN_free(q);
  BN_clear_free(x);
  BN_free(g);
  BN_free(p);
  BN_CTX_free(ctx);
  return rv;
}

/* The private value of a Weierstrass curve as long as the order, which others make of it anyway (RFC 5915). */
static CK_RV fix_length(struct tok_attrs *attrs, const struct tok_curve *curve)
{
  CK_BYTE fixed[TOK_MAX_POINT] = {0};
  CK_ULONG len = 0;
  const CK_BYTE *value = tok_attrs_get(attrs, CKA_VALUE, &len);
  if (curve->kind != TOK_WEIERSTRASS || len == curve->size) return CKR_OK;
  for (; len > curve->size; len--) value++; /* zeros: tok_point_of has seen to it */
  memcpy(fixed + curve->size - len, value, len);
  CK_RV rv = tok_attrs_set(attrs, CKA_VALUE, fixed, curve->size);
  OPENSSL_cleanse(fixed, sizeof fixed);
  return rv;
}

/* A compressed or hybrid point: "a key of an unsupported form" (PKCS #11 3.2, 6.3). */
static bool other_form(const struct tok_curve *curve, const CK_BYTE *value, CK_ULONG len)
{
  struct tok_der in = {value, len}, point;
  if (!tok_der_next(&in, TOK_DER_OCTET_STRING, &point) || in.left != 0) point = (struct tok_der){value, len};
  if (curve->kind != TOK_WEIERSTRASS || point.left < 1 + curve->size) return false;
  switch (point.at[0]) {
    case 2:
    case 3: return point.left == 1 + curve->size;
    case 6:
    case 7: return point.left == 1 + 2 * curve->size;
    default: return false;
  }
}

/* All kinds of curves. A private key also gets CKA_EC_POINT: NSS asks for it (SECKEY_ConvertToPublicKey, seckey.c), and
 * keys made of it later need no computing. */
static CK_RV curve_key(struct tok_attrs *attrs, bool private)
{
  const struct tok_curve *curve = NULL;
  const CK_BYTE *point = NULL;
  CK_BYTE computed[TOK_MAX_POINT];
  CK_ULONG len = 0, value_len = 0;
  CK_RV rv = tok_attrs_curve(attrs, &curve);
  if (rv != CKR_OK) return rv;
  CK_ULONG size = tok_curve_point_size(curve);
  const CK_BYTE *given = tok_attrs_get(attrs, CKA_EC_POINT, &len), *value = tok_attrs_get(attrs, CKA_VALUE, &value_len);
  if (private ? value == NULL : given == NULL) return CKR_TEMPLATE_INCOMPLETE;
  if (given != NULL && !(private && len == 0) && !tok_point_bytes(curve, given, len, &point))
    return other_form(curve, given, len) ? CKR_TEMPLATE_INCONSISTENT : CKR_ATTRIBUTE_VALUE_INVALID;
  if (private) {
    rv = tok_point_of(curve, value, value_len, computed);
    if (rv == CKR_OK && point != NULL && memcmp(point, computed, size) != 0) rv = CKR_TEMPLATE_INCONSISTENT;
  } else {
    rv = tok_point_check(curve, point);
    memcpy(computed, point, size); /* `point` lies in the value that is replaced */
  }
  if (rv == CKR_OK && private) rv = fix_length(attrs, curve);
  if (rv == CKR_OK) rv = tok_point_set(attrs, curve, computed);
  return rv == CKR_OK ? set_info(attrs, computed, size) : rv;
}

CK_RV tok_material_complete(struct tok_attrs *attrs)
{
  CK_OBJECT_CLASS class = tok_attrs_ulong(attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  CK_KEY_TYPE type = tok_attrs_ulong(attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  if (class == CKO_SECRET_KEY) return tok_secret_complete(attrs);
  if (class != CKO_PUBLIC_KEY && class != CKO_PRIVATE_KEY) return CKR_OK;
  bool private = class == CKO_PRIVATE_KEY;
  switch (type) {
    case CKK_RSA: return rsa(attrs, private);
    case CKK_DSA:
    case CKK_DH: return finite_field(attrs, type, private);
    case CKK_EC:
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY: return curve_key(attrs, private);
    default: return CKR_OK;
  }
}
