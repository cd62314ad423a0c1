/* A digest that is being computed, and whose inner state can be saved.
 *
 * OpenSSL's EVP interface gives the state of a digest to nobody. Its older interface does: MD5_CTX, SHA_CTX, SHA256_CTX and
 * SHA512_CTX are open structures, and their functions are those that EVP calls. So MD5, SHA-1 and SHA-2 are computed through
 * it, which also spares EVP's own work; SHA-3, which has no such structure, is computed by EVP and cannot be saved. */
#ifndef TOK_HASH_STATE_H
#define TOK_HASH_STATE_H

#include <openssl/md5.h>
#include <openssl/sha.h>
#include <openssl/types.h>

#include "crypto/hash.h"
#include "crypto/saving.h"

struct tok_hash_state {
  enum tok_hash hash;
  EVP_MD_CTX *evp; /* SHA-3; kept from one digest to the next */
  union {
    MD5_CTX md5;
    SHA_CTX sha1;
    SHA256_CTX sha256;
    SHA512_CTX sha512;
  } u;
};

enum { TOK_MAX_HASH = 64, TOK_MAX_HASH_BLOCK = 144 };

/* Begins a digest; the state was zeroed once, or had one before. CKR_HOST_MEMORY, CKR_FUNCTION_FAILED. */
CK_RV tok_hash_begin(struct tok_hash_state *state, enum tok_hash hash);
CK_RV tok_hash_update(struct tok_hash_state *state, const void *data, size_t len);
/* Writes tok_hash_size bytes. */
CK_RV tok_hash_finish(struct tok_hash_state *state, CK_BYTE *out);
void tok_hash_clear(struct tok_hash_state *state); /* frees and wipes */

/* Is the state open (MD5, SHA-1, SHA-2)? Then structure assignment copies it, and these save and restore it. Restoring goes
 * into a digest that was begun, and is false if what was saved cannot be a state of it. */
bool tok_hash_open(enum tok_hash hash);
size_t tok_hash_block(enum tok_hash hash); /* bytes of a block, of an open one */
void tok_hash_save(const struct tok_hash_state *state, struct tok_saving *to);
bool tok_hash_restore(struct tok_hash_state *state, struct tok_saved *from);

#endif
