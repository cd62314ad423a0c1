/* AlgorithmIdentifier and SubjectPublicKeyInfo, from attributes. */
#include "crypto/spki.h"

#include <string.h>

#include "core/module.h"
#include "crypto/ec_point.h"

/* clang-format off */
static const struct algorithm {
  CK_KEY_TYPE type;
  const char *oid;
  size_t len;
} algorithms[] = {
  {CKK_RSA, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9}, /* rsaEncryption */
  {CKK_EC,  "\x2a\x86\x48\xce\x3d\x02\x01", 7},         /* id-ecPublicKey */
  {CKK_DSA, "\x2a\x86\x48\xce\x38\x04\x01", 7},         /* id-dsa */
  {CKK_DH,  "\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01", 9}, /* dhKeyAgreement */
  {CKK_EC_MONTGOMERY, "\x2b\x65\x6e", 3},               /* id-X25519 */
  {CKK_EC_MONTGOMERY, "\x2b\x65\x6f", 3},               /* id-X448 */
  {CKK_EC_EDWARDS, "\x2b\x65\x70", 3},                  /* id-Ed25519 */
  {CKK_EC_EDWARDS, "\x2b\x65\x71", 3},                  /* id-Ed448 */
};
/* clang-format on */
#define ALGORITHMS (sizeof algorithms / sizeof algorithms[0])

CK_KEY_TYPE tok_spki_type(const struct tok_der *oid)
{
  for (size_t i = 0; i < ALGORITHMS; i++)
    if (oid->left == algorithms[i].len && memcmp(oid->at, algorithms[i].oid, oid->left) == 0) return algorithms[i].type;
  return CK_UNAVAILABLE_INFORMATION;
}

/* INTEGERs one after the other. */
static CK_RV put_numbers(const struct tok_attrs *attrs, struct tok_der_out *out, const CK_ATTRIBUTE_TYPE *types,
                         size_t count)
{
  for (size_t i = 0; i < count; i++) {
    CK_ULONG len = 0;
    const CK_BYTE *value = tok_attrs_get(attrs, types[i], &len);
    if (value == NULL) return CKR_TEMPLATE_INCOMPLETE;
    tok_der_put_unsigned(out, value, len);
  }
  return CKR_OK;
}

static void put_oid(struct tok_der_out *out, CK_KEY_TYPE type)
{
  for (size_t i = 0; i < ALGORITHMS; i++) {
    if (algorithms[i].type != type) continue;
    tok_der_put(out, TOK_DER_OID, algorithms[i].oid, algorithms[i].len);
    return;
  }
}

CK_RV tok_spki_algorithm(const struct tok_attrs *attrs, struct tok_der_out *out)
{
  static const CK_ATTRIBUTE_TYPE dsa[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE}, dh[] = {CKA_PRIME, CKA_BASE};
  CK_KEY_TYPE type = tok_attrs_ulong(attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  const struct tok_curve *curve = NULL;
  size_t begin = tok_der_begin(out);
  CK_RV rv = CKR_OK;
  switch (type) {
    case CKK_RSA:
      put_oid(out, type);
      tok_der_put(out, TOK_DER_NULL, NULL, 0);
      break;
    case CKK_DSA:
    case CKK_DH: {
      put_oid(out, type);
      size_t params = tok_der_begin(out);
      rv = type == CKK_DSA ? put_numbers(attrs, out, dsa, 3) : put_numbers(attrs, out, dh, 2);
      tok_der_end(out, params, TOK_DER_SEQUENCE);
      break;
    }
    case CKK_EC:
      rv = tok_attrs_curve(attrs, &curve);
      if (rv != CKR_OK) return rv;
      put_oid(out, type);
      if (curve->kind == TOK_MONTGOMERY) { /* NSS's OID stays, the only one it knows here */
        CK_ULONG len = 0;
        const CK_BYTE *params = tok_attrs_get(attrs, CKA_EC_PARAMS, &len);
        tok_der_bytes(out, params, len);
      } else {
        tok_der_bytes(out, curve->oid, curve->oid_len);
      }
      break;
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY:
      rv = tok_attrs_curve(attrs, &curve);
      if (rv != CKR_OK) return rv;
      tok_der_bytes(out, curve->oid, curve->oid_len);
      break;
    default: return CKR_KEY_TYPE_INCONSISTENT;
  }
  tok_der_end(out, begin, TOK_DER_SEQUENCE);
  return rv;
}

CK_RV tok_spki_make(const struct tok_attrs *attrs, const CK_BYTE *value, CK_ULONG value_len, CK_BYTE **der,
                    CK_ULONG *len)
{
  static const CK_ATTRIBUTE_TYPE rsa[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT};
  CK_KEY_TYPE type = tok_attrs_ulong(attrs, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  struct tok_der_out out = {NULL, 0, 0, false};
  size_t begin = tok_der_begin(&out);
  CK_RV rv = tok_spki_algorithm(attrs, &out);
  size_t bits = tok_der_begin(&out);
  tok_der_bytes(&out, "", 1); /* no unused bits */
  if (rv == CKR_OK && type == CKK_RSA) {
    size_t key = tok_der_begin(&out);
    rv = put_numbers(attrs, &out, rsa, 2);
    tok_der_end(&out, key, TOK_DER_SEQUENCE);
  } else if (type == CKK_DSA || type == CKK_DH) {
    tok_der_put_unsigned(&out, value, value_len);
  } else {
    tok_der_bytes(&out, value, value_len);
  }
  tok_der_end(&out, bits, TOK_DER_BIT_STRING);
  tok_der_end(&out, begin, TOK_DER_SEQUENCE);
  if (rv != CKR_OK) {
    tok_wipe_free(out.data, out.room);
    return rv;
  }
  return tok_der_finish(&out, der, len);
}
