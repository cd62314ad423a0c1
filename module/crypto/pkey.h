/* Asymmetric keys: between attributes and OpenSSL's EVP_PKEY. */
#ifndef TOK_PKEY_H
#define TOK_PKEY_H

#include <openssl/types.h>

#include "object/attrs.h"
#include "object/objects.h"

/* The key as an EVP_PKEY in our library context; made at the first call and kept with the object, to which it belongs.
 * Public and private RSA, DSA, DH, EC, Edwards and Montgomery keys. CKR_KEY_TYPE_INCONSISTENT for other objects,
 * CKR_KEY_HANDLE_INVALID if the material is not sound. Thread-safe. */
CK_RV tok_object_pkey(struct tok_object *object, EVP_PKEY **pkey);
/* The same of a set of attributes (CKA_CLASS, CKA_KEY_TYPE and components); the caller's, EVP_PKEY_free. Also
 * CKR_TEMPLATE_INCOMPLETE and CKR_ATTRIBUTE_VALUE_INVALID. */
CK_RV tok_attrs_to_pkey(const struct tok_attrs *attrs, EVP_PKEY **pkey);

/* Checks the key material of a new key and completes it: CKA_MODULUS_BITS, CKA_VALUE_LEN, CKA_PUBLIC_KEY_INFO,
 * CKA_PUBLIC_EXPONENT of a private key, CKA_EC_POINT as a DER OCTET STRING, CKA_CHECK_VALUE of a secret key, parity of DES
 * keys. CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCOMPLETE (a component is missing), CKR_TEMPLATE_INCONSISTENT (they
 * contradict each other), CKR_CURVE_NOT_SUPPORTED, CKR_KEY_SIZE_RANGE. Other classes are left alone. */
CK_RV tok_material_complete(struct tok_attrs *attrs);

/* The other direction: sets the components of a generated or unwrapped key (all of a private key, or those of a public
 * key). Does not touch other attributes; CKA_EC_PARAMS that name the same curve in another form stay. */
CK_RV tok_attrs_from_pkey(struct tok_attrs *attrs, const EVP_PKEY *pkey, bool private);
/* Key type (CKK_) of an EVP_PKEY, or CK_UNAVAILABLE_INFORMATION. */
CK_KEY_TYPE tok_pkey_type(const EVP_PKEY *pkey);

/* DER: PrivateKeyInfo (PKCS #8) of a private key, to be wrapped or exported; *out is the caller's (tok_wipe_free). And back:
 * components of `der` into attrs, with CKA_KEY_TYPE if it is not there yet (CKR_WRAPPED_KEY_INVALID if it is no PKCS #8
 * or of another type). */
CK_RV tok_pkcs8_write(struct tok_object *key, CK_BYTE **out, CK_ULONG *len);
CK_RV tok_pkcs8_read(const CK_BYTE *der, CK_ULONG len, struct tok_attrs *attrs);

/* The group name for OpenSSL ("P-256", "X25519") of CKA_EC_PARAMS: an OID (also NSS's 1.3.6.1.4.1.11591.15.1 for
 * curve25519), or a PrintableString ("curve25519", "edwards25519"). NULL: not supported. */
const char *tok_curve_name(const CK_BYTE *ec_params, CK_ULONG len);

/* A context to make a key of an algorithm ("RSA", "EC", "X25519" ...), of our providers and no engine of the host; the
 * caller's, or NULL. */
EVP_PKEY_CTX *tok_pkey_context(const char *name);

#endif
