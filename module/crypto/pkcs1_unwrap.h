/* Secret keys under RSA with the padding of PKCS #1 v1.5. */
#ifndef TOK_PKCS1_UNWRAP_H
#define TOK_PKCS1_UNWRAP_H

#include "pkcs11.h"

struct tok_object;

/* Decrypts a secret key of the type `type`, `len` bytes long or, if that is 0, of any length that such a key can have. What
 * is not one is answered with another key (implicit rejection, as in draft-irtf-cfrg-rsa-guidance and NSS's softoken): of a
 * right length, the same each time, and nobody without the private key knows it. So whoever sees this fail or succeed learns
 * nothing of the padding, which is what Bleichenbacher's attack needs (RFC 5246, 7.4.7.1; RFC 3218).
 * *out is the caller's (tok_wipe_free). CKR_ENCRYPTED_DATA_LEN_RANGE and CKR_ENCRYPTED_DATA_INVALID tell of what all can see:
 * it has not the length of the modulus, or is not less than it. */
CK_RV tok_pkcs1_unwrap(struct tok_object *key, const CK_BYTE *wrapped, CK_ULONG wrapped_len, CK_KEY_TYPE type,
                       CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);

#endif
