/* Between the files of the family `aead`, and for those who use its parameters (messages, authenticated wrapping). */
#ifndef TOK_AEAD_H
#define TOK_AEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/mech.h"
#include "pkcs11.h"

/* What the parameter of any of the mechanisms says; pointers into the caller's memory. */
struct tok_aead_param {
  const CK_BYTE *iv, *aad;
  CK_ULONG iv_len, aad_len, tag_len; /* bytes */
  CK_ULONG data_len;                 /* CKM_AES_CCM: bytes of plaintext to come */
};

/* Reads the parameter of an AEAD mechanism (TOK_AES_GCM, TOK_AES_CCM, TOK_CHACHA20_POLY1305) for C_EncryptInit and
 * C_DecryptInit. CKR_MECHANISM_PARAM_INVALID. */
CK_RV tok_aead_read(unsigned arg, CK_MECHANISM_PTR mechanism, struct tok_aead_param *p);

/* --- parameters with the tag in them: CK_GCM_MESSAGE_PARAMS and its like (crypto/aead_message.c) ------------------ */

struct tok_aead_message {
  CK_BYTE *iv;
  CK_ULONG iv_len;     /* as the parameter has it: bits are allowed for ChaCha20 */
  CK_ULONG fixed_bits; /* of the nonce, from the left */
  CK_GENERATOR_FUNCTION generator;
  CK_BYTE *tag;
  CK_ULONG tag_len;  /* bytes, at most 16 */
  CK_ULONG data_len; /* CKM_AES_CCM */
};

/* The size of the mechanism's structure. */
CK_ULONG tok_aead_message_size(unsigned arg);
/* CKR_MECHANISM_PARAM_INVALID if it is not that structure, or has no tag. */
CK_RV tok_aead_message_read(unsigned arg, const void *param, CK_ULONG len, struct tok_aead_message *m);

/* Begins one message of the operation `messages` with the nonce `iv`; tok_op_free. */
struct tok_op;
CK_RV tok_aead_message_begin(struct tok_op *messages, const struct tok_aead_message *m, const CK_BYTE *iv, CK_BYTE *aad,
                             CK_ULONG aad_len, struct tok_op **message);
/* crypto/aead.c: where the tag of a message lies: made by the last step of encryption, or to be put there before the last
 * step of decryption. *len is how long it is. */
CK_BYTE *tok_aead_tag(struct tok_op *message, CK_ULONG *len);

/* --- nonces that the token makes (crypto/aead_iv.c) --------------------------------------------------------------- */

#define TOK_MAX_IV 256 /* bytes of a nonce that is made here */

/* What has been made under a key in one operation; all zero at first. */
struct tok_iv_series {
  bool begun;
  CK_GENERATOR_FUNCTION generator;
  CK_ULONG iv_len, fixed_bits;
  CK_BYTE base[TOK_MAX_IV]; /* CKG_GENERATE_COUNTER_XOR: what the counter is added to */
  uint64_t count, most;     /* made, and possible */
};

/* Makes what is not fixed of the nonce, in place. Nonces of one series never repeat: its generator, the length and the fixed
 * bits stay as they were for the first (CKR_MECHANISM_PARAM_INVALID), and when all are used up it is CKR_FUNCTION_FAILED.
 * `series` NULL: the only one of its operation; counters, which would begin from nothing for the next, are refused. */
CK_RV tok_aead_make_iv(struct tok_iv_series *series, CK_GENERATOR_FUNCTION generator, CK_BYTE *iv, CK_ULONG iv_len,
                       CK_ULONG fixed_bits);

/* crypto/aead_wrap.c: tok_family.wrap and unwrap, which take the parameter in other forms too. */
CK_RV tok_aead_wrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *wrapping_key,
                    const CK_BYTE *secret, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);
CK_RV tok_aead_unwrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *unwrapping_key,
                      const CK_BYTE *wrapped, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);

#endif
