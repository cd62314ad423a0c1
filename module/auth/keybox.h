/* The cryptography of auth/: keys from PINs, keys from keys, and sealed boxes. Everything through our library
 * context. */
#ifndef TOK_KEYBOX_H
#define TOK_KEYBOX_H

#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

#define TOK_KEY 32
#define TOK_BOX_MORE 28 /* bytes by which a box is longer: nonce (12), then the ciphertext, then the tag (16) */

/* scrypt's cost, N = 2^cost: the most that is accepted from a token file. 20 takes 1 GiB. */
#define TOK_MAX_COST 20

/* AES-256-GCM with a random nonce; `bound` is authenticated but not contained. `box` has room for len +
 * TOK_BOX_MORE, `out` for len - TOK_BOX_MORE bytes. tok_box_open: CKR_PIN_INCORRECT if the key or `bound` is another
 * one or the box was changed; CKR_FUNCTION_FAILED if OpenSSL fails. OpenSSL's error queue is left as it was. */
CK_RV tok_box_seal(const uint8_t key[TOK_KEY], const void *bound, size_t bound_len, const uint8_t *in, size_t len,
                   uint8_t *box);
CK_RV tok_box_open(const uint8_t key[TOK_KEY], const void *bound, size_t bound_len, const uint8_t *box, size_t len,
                   uint8_t *out);

/* scrypt, N = 2^cost, r = 8, p = 1, with the PIN as password; its length (one byte) follows the salt, because scrypt
 * alone takes "1234" and "1234" with a NUL after it for the same. CKR_HOST_MEMORY if there is no room for it: 2^cost
 * KiB. */
#define TOK_PIN_SALT 16
CK_RV tok_key_from_pin(const uint8_t *pin, size_t pin_len, const uint8_t salt[TOK_PIN_SALT], unsigned cost,
                       uint8_t key[TOK_KEY]);
/* HKDF-SHA-256 of a key, for a purpose. */
CK_RV tok_key_from_key(const uint8_t from[TOK_KEY], const char *purpose, uint8_t key[TOK_KEY]);
/* Random bytes for keys, salts and serial numbers. */
CK_RV tok_key_random(void *to, size_t size);

#endif
