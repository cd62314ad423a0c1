/* Between the files of the family `aead`. */
#ifndef TOK_AEAD_H
#define TOK_AEAD_H

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

/* crypto/aead_wrap.c: tok_family.wrap and unwrap, which take the parameter in other forms too. */
CK_RV tok_aead_wrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *wrapping_key,
                    const CK_BYTE *secret, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);
CK_RV tok_aead_unwrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *unwrapping_key,
                      const CK_BYTE *wrapped, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);

#endif
