/* Between the files of the family `cipher`. */
#ifndef TOK_CIPHER_H
#define TOK_CIPHER_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypto/op.h"
#include "crypto/park.h"

struct tok_cipher_state {
  struct tok_parked parked;
  EVP_CIPHER_CTX *context;
  bool encrypt;
  bool keep;       /* the context can be used again with another IV */
  bool finished;   /* the operation came to its end */
  unsigned block;  /* bytes; 1: a stream */
  bool padded;     /* PKCS #7 */
  unsigned within; /* bytes that OpenSSL has taken and not given back */
  uint64_t left;   /* CKM_AES_CTR: bytes before the counter overflows; else UINT64_MAX */
  /* CKM_AES_CTS in several parts */
  EVP_CIPHER_CTX *bulk; /* CBC, for all blocks but the last two; NULL before there are any */
  CK_BYTE chain[16];    /* the last block of ciphertext that `bulk` wrote or read; at first the IV */
  CK_BYTE tail[32];     /* the input that may be the last */
};

extern const struct tok_op_type tok_cipher_cts_type; /* crypto/cipher_cts.c */

void tok_cipher_free(struct tok_op *op);
/* CKR_DATA_LEN_RANGE or CKR_ENCRYPTED_DATA_LEN_RANGE. */
CK_RV tok_cipher_len_error(const struct tok_cipher_state *state);

#endif
