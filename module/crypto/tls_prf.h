/* The pseudo-random functions of SSL 3.0 and TLS 1.0 to 1.2. */
#ifndef TOK_TLS_PRF_H
#define TOK_TLS_PRF_H

#include "crypto/derive.h"
#include "crypto/hash.h"

#define TOK_TLS_SECRET 48 /* bytes of an RSA pre-master secret and of every master secret */
#define TOK_TLS_RANDOM 32 /* bytes of ClientHello.random and ServerHello.random */
/* The longest output that anybody is given, and the longest piece of a seed. */
#define TOK_TLS_MOST 65536

/* PRF(secret, label, seed) of RFC 5246, 5, with P_<hash>, or of RFC 2246, 5, with MD5 and SHA-1 if `hash` is
 * TOK_HASH_NONE. The label is the first of the `count` pieces of `seed`. CKR_OK, CKR_HOST_MEMORY,
 * CKR_FUNCTION_FAILED. */
CK_RV tok_tls_prf(enum tok_hash hash, struct tok_span secret, const struct tok_span *seed, size_t count, CK_BYTE *out,
                  CK_ULONG len);

/* SSL 3.0 (RFC 6101, 6.1 and 6.2.2): MD5(secret + SHA("A" + secret + r1 + r2)) + MD5(secret + SHA("BB" + ...)) + ... At
 * most 26 * 16 bytes. */
CK_RV tok_ssl3_prf(struct tok_span secret, struct tok_span r1, struct tok_span r2, CK_BYTE *out, CK_ULONG len);

/* Which of them: a hash, or CKM_TLS_PRF for that of TLS 1.0 and 1.1 (*hash is TOK_HASH_NONE then). False if it is
 * neither. */
bool tok_tls_prf_of(CK_MECHANISM_TYPE mechanism, enum tok_hash *hash);

#endif
