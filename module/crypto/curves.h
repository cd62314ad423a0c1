/* Elliptic curves that the token has. */
#ifndef TOK_CURVES_H
#define TOK_CURVES_H

#include "pkcs11.h"

enum tok_curve_kind { TOK_WEIERSTRASS, TOK_MONTGOMERY, TOK_EDWARDS };

struct tok_curve {
  const char *name; /* OpenSSL's: a group of "EC", or a key type of its own */
  enum tok_curve_kind kind;
  CK_ULONG bits;      /* of the field: the key size as the mechanisms count it */
  CK_ULONG size;      /* bytes: a coordinate, the order, or a Montgomery or Edwards key */
  CK_ULONG signature; /* bytes of r and s together, or of an EdDSA signature; 0: the curve does not sign */
  const char *oid;    /* DER, tag and length included */
  CK_ULONG oid_len;
  int nid; /* OpenSSL's number of a Weierstrass curve */
};

/* The curve of CKA_EC_PARAMS, which is an OID (NSS's 1.3.6.1.4.1.11591.15.1 for curve25519 too) or a name in a
 * PrintableString. CKR_CURVE_NOT_SUPPORTED, or CKR_DOMAIN_PARAMS_INVALID if it is neither (PKCS #11 3.2, 6.3). */
CK_RV tok_curve_find(const CK_BYTE *ec_params, CK_ULONG len, const struct tok_curve **curve);
/* By OpenSSL's name of the group or key type; NULL: none of ours. */
const struct tok_curve *tok_curve_by_name(const char *name);

/* Bytes of a public point as it is without DER: 04 x y, or a Montgomery or Edwards key. */
static inline CK_ULONG tok_curve_point_size(const struct tok_curve *curve)
{
  return curve->kind == TOK_WEIERSTRASS ? 1 + 2 * curve->size : curve->size;
}

#endif
