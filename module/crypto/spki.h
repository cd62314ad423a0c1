/* X.509 descriptions of keys: AlgorithmIdentifier and SubjectPublicKeyInfo (RFC 3279, 5480, 8410). */
#ifndef TOK_SPKI_H
#define TOK_SPKI_H

#include "crypto/der.h"
#include "object/attrs.h"

/* Writes the AlgorithmIdentifier of the key, with its domain parameters. Keys of CKK_EC_EDWARDS and CKK_EC_MONTGOMERY are
 * written as RFC 8410 has it; curve25519 under CKK_EC as NSS has it, id-ecPublicKey with the curve's OID.
 * CKR_TEMPLATE_INCOMPLETE, the codes of tok_attrs_curve, CKR_KEY_TYPE_INCONSISTENT for keys of other types. */
CK_RV tok_spki_algorithm(const struct tok_attrs *attrs, struct tok_der_out *out);

/* The value of CKA_PUBLIC_KEY_INFO of a public or private key. `value` is the public value of a DSA or DH key or the point of
 * an elliptic curve key, and not used for RSA. *der is the caller's (tok_wipe_free). */
CK_RV tok_spki_make(const struct tok_attrs *attrs, const CK_BYTE *value, CK_ULONG value_len, CK_BYTE **der,
                    CK_ULONG *len);

/* The key type that an algorithm's OID (content, without tag) stands for, or CK_UNAVAILABLE_INFORMATION. */
CK_KEY_TYPE tok_spki_type(const struct tok_der *oid);

#endif
