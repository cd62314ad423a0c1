/* Family `cmac`: NIST SP 800-38B with AES and with triple DES. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/ciphers.h"
#include "crypto/mac.h"
#include "crypto/mech.h"
#include "object/objects.h"

static bool is_aes(const struct tok_op *op)
{
  return (op->mech->arg & 0xff) == TOK_CMAC_AES;
}

static CK_RV make(struct tok_op *op, EVP_MAC_CTX **context)
{
  unsigned id = is_aes(op) ? TOK_AES_CBC : TOK_DES3_CBC;
  EVP_MAC *mac = NULL;
  struct tok_cipher_key key;
  CK_RV rv = tok_cipher_key(op->key, id, &key);
  if (rv != CKR_OK) goto out;
  rv = CKR_FUNCTION_FAILED;
  EVP_CIPHER *cipher = tok_cipher_fetch(id, key.len);
  mac = EVP_MAC_fetch(tok_module->crypto, OSSL_MAC_NAME_CMAC, NULL);
  *context = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
  if (cipher == NULL || *context == NULL) goto out;
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, (char *)EVP_CIPHER_get0_name(cipher), 0),
      OSSL_PARAM_construct_end(),
  };
  if (EVP_MAC_init(*context, key.bytes, key.len, parameters) == 1) rv = CKR_OK;
out:
  EVP_MAC_free(mac);
  OPENSSL_cleanse(&key, sizeof key);
  return rv;
}

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  return tok_mac_start(op, mechanism, is_aes(op) ? 16 : 8, make);
}

const struct tok_family tok_family_cmac = {.sign = start};
