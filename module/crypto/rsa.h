/* What signatures and encryption with RSA share. */
#ifndef TOK_RSA_H
#define TOK_RSA_H

#include <openssl/types.h>

#include "crypto/op.h"
#include "pkcs11.h"

#define TOK_MAX_RSA (16384 / 8) /* bytes of a modulus */

/* The length of the key's modulus. CKR_KEY_SIZE_RANGE if the mechanism does not take it. */
CK_RV tok_rsa_size(const struct tok_op *op, CK_ULONG *bits, CK_ULONG *bytes);
/* `data` with zeros before it, to the length of the modulus; CKR_DATA_LEN_RANGE if it is longer, CKR_DATA_INVALID if it is not
 * less than the modulus (PKCS #11 3.2, "X.509 (raw) RSA"). */
CK_RV tok_rsa_pad(const struct tok_object *key, const CK_BYTE *data, CK_ULONG len, CK_BYTE *block, CK_ULONG size);

/* The `sign` of the family for TOK_VERIFY_RECOVER. */
CK_RV tok_rsa_recover(struct tok_op *op, CK_MECHANISM_PTR mechanism);

/* Encryption and decryption: the `cipher` of the family. */
CK_RV tok_rsa_cipher(struct tok_op *op, CK_MECHANISM_PTR mechanism);

#endif
