/* Public points of elliptic curve keys. */
#ifndef TOK_EC_POINT_H
#define TOK_EC_POINT_H

#include "crypto/curves.h"
#include "object/attrs.h"

#define TOK_MAX_POINT 136 /* bytes: P-521 as DER */

/* The bytes of a point given in any of the two forms of CKA_EC_POINT: a DER OCTET STRING around them, or as they are. The
 * two can be told apart by their length. False if it is neither, or compressed. *point lies in `value`. */
bool tok_point_bytes(const struct tok_curve *curve, const CK_BYTE *value, CK_ULONG len, const CK_BYTE **point);

/* Is it a point that a public key may be? On the curve, not the point at infinity (CVE-2021-3798); the curves have
 * cofactor 1, so it is then in the right group. CKR_OK or CKR_ATTRIBUTE_VALUE_INVALID. Montgomery keys are always (RFC
 * 7748), Edwards keys are looked at when they are used. */
CK_RV tok_point_check(const struct tok_curve *curve, const CK_BYTE *point);

/* The point that belongs to a private key: `point` has tok_curve_point_size bytes. CKR_ATTRIBUTE_VALUE_INVALID if the
 * private key is not between 0 and the order of the curve or has another length. */
CK_RV tok_point_of(const struct tok_curve *curve, const CK_BYTE *value, CK_ULONG len, CK_BYTE *point);

/* Sets CKA_EC_POINT: the standard of 2.20 to 3.0 wants a DER OCTET STRING for all curves, NSS and others read it for all. */
CK_RV tok_point_set(struct tok_attrs *attrs, const struct tok_curve *curve, const CK_BYTE *point);

/* CKA_EC_PARAMS: CKR_TEMPLATE_INCOMPLETE, or as tok_curve_find; CKR_CURVE_NOT_SUPPORTED also if the curve is not one for
 * the set's CKA_KEY_TYPE. NSS has curve25519 under CKK_EC. */
CK_RV tok_attrs_curve(const struct tok_attrs *attrs, const struct tok_curve **curve);

#endif
