/* Symmetric ciphers of OpenSSL: fetched when first needed, kept until C_Finalize. */
#ifndef TOK_CIPHERS_H
#define TOK_CIPHERS_H

#include <openssl/types.h>

#include "pkcs11.h"

struct tok_object;

/* The bytes of a key as its cipher takes them. */
struct tok_cipher_key {
  const CK_BYTE *bytes; /* the object's, or `expanded` */
  CK_ULONG len;
  CK_BYTE expanded[24]; /* a DES key of two parts, as three */
};

/* The key's bytes for a cipher (TOK_AES_ECB ... TOK_KWP of crypto/args.h). CKR_KEY_SIZE_RANGE if their number is not
 * one of the cipher's, CKR_KEY_HANDLE_INVALID if the object has none. To be wiped (OPENSSL_cleanse) by the caller. */
CK_RV tok_cipher_key(const struct tok_object *object, unsigned cipher, struct tok_cipher_key *key);
/* OpenSSL's cipher for a key of `len` bytes, as tok_cipher_key gave them; NULL if OpenSSL does not have it.
 * Thread-safe. */
EVP_CIPHER *tok_cipher_fetch(unsigned cipher, CK_ULONG len);
void tok_ciphers_unload(void);
/* In a forked child: forgets the parent's without touching them. Async-signal-safe. */
void tok_ciphers_abandon(void);

/* EVP_CipherUpdate without its limit of INT_MAX bytes. *out_len is set; `out` NULL for additional authenticated data.
 * CKR_OK or CKR_FUNCTION_FAILED. */
CK_RV tok_cipher_feed(EVP_CIPHER_CTX *context, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len);

#endif
