/* What families are told by tok_mech.arg. A hash (crypto/hash.h) is in the low byte and TOK_GENERAL above it, so these
 * begin higher where the two are combined. */
#ifndef TOK_ARGS_H
#define TOK_ARGS_H

/* cipher, aead, keywrap, encrypt_derive */
enum {
  TOK_AES_ECB,
  TOK_AES_CBC,
  TOK_AES_CBC_PAD,
  TOK_AES_CTR,
  TOK_AES_CTS,
  TOK_AES_OFB,
  TOK_AES_CFB8,
  TOK_AES_CFB128,
  TOK_DES3_ECB,
  TOK_DES3_CBC,
  TOK_DES3_CBC_PAD,
  TOK_DES_ECB,
  TOK_DES_CBC,
  TOK_DES_CBC_PAD,
  TOK_RC2_ECB,
  TOK_RC2_CBC,
  TOK_RC2_CBC_PAD,
  TOK_RC4,
  TOK_AES_GCM,
  TOK_AES_CCM,
  TOK_CHACHA20_POLY1305,
  TOK_KW,
  TOK_KW_PAD,
  TOK_KWP
};
/* cmac, with TOK_GENERAL */
enum { TOK_CMAC_AES = 1, TOK_CMAC_DES3 = 2 };
/* rsa, with a hash */
enum { TOK_RSA_PKCS = 0x1000, TOK_RSA_RAW = 0x2000, TOK_RSA_OAEP = 0x3000, TOK_RSA_PSS = 0x4000 };
#define TOK_RSA_OF(arg) ((arg)&0xf000)

#endif
