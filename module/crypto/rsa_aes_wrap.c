/* CKM_RSA_AES_KEY_WRAP: the key under AES key wrap with padding (RFC 5649), the AES key under RSA-OAEP, one after the other
 * (PKCS #11 3.2, 6.1.19). */
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/op.h"
#include "object/objects.h"

#define MAX_AES 32

/* AES key wrap with padding, in one of the two directions; *out (tok_wipe_free) is new. CKR_ENCRYPTED_DATA_INVALID if it is
 * not what the key wrapped. */
static CK_RV keywrap(const CK_BYTE *aes, CK_ULONG aes_len, bool wrap, const CK_BYTE *in, CK_ULONG len, CK_BYTE **out,
                     CK_ULONG *out_len)
{
  const char *name = aes_len == 16 ? "AES-128-WRAP-PAD" : aes_len == 24 ? "AES-192-WRAP-PAD" : "AES-256-WRAP-PAD";
  if (len == 0 || len > INT_MAX - 16) return wrap ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
  CK_ULONG room = len + 16;
  CK_BYTE *result = tok_alloc(room);
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  EVP_CIPHER *cipher = NULL;
  int done = 0;
  CK_RV rv = CKR_HOST_MEMORY;
  ERR_set_mark();
  if (result == NULL || context == NULL) goto out;
  rv = CKR_FUNCTION_FAILED;
  cipher = EVP_CIPHER_fetch(tok_module->crypto, name, NULL);
  if (cipher == NULL) goto out;
  EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  if (EVP_CipherInit_ex2(context, cipher, aes, NULL, wrap, NULL) != 1) goto out;
  if (!wrap) rv = CKR_ENCRYPTED_DATA_INVALID;
  if (EVP_CipherUpdate(context, result, &done, in, (int)len) != 1 || done <= 0) goto out;
  *out = result;
  *out_len = (CK_ULONG)done;
  result = NULL;
  rv = CKR_OK;
out:
  ERR_pop_to_mark();
  tok_wipe_free(result, room);
  EVP_CIPHER_free(cipher);
  EVP_CIPHER_CTX_free(context);
  return rv;
}

/* The parameter, checked; NULL if it is not good. `oaep` becomes the mechanism for the AES key. */
static const struct tok_mech *read_params(CK_MECHANISM_PTR mechanism, CK_ULONG *aes_len, CK_MECHANISM *oaep)
{
  const CK_RSA_AES_KEY_WRAP_PARAMS *p = tok_mech_param(mechanism, sizeof *p);
  if (p == NULL || p->pOAEPParams == NULL) return NULL;
  if (p->ulAESKeyBits != 128 && p->ulAESKeyBits != 192 && p->ulAESKeyBits != 256) return NULL;
  *aes_len = p->ulAESKeyBits / 8;
  *oaep = (CK_MECHANISM){CKM_RSA_PKCS_OAEP, p->pOAEPParams, sizeof *p->pOAEPParams};
  return tok_mech_find(CKM_RSA_PKCS_OAEP);
}

static CK_RV wrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *wrapping_key,
                  const CK_BYTE *secret, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  (void)mech;
  CK_MECHANISM oaep;
  CK_ULONG aes_len, first_len = 0, second_len = 0;
  CK_BYTE aes[MAX_AES], *first = NULL, *second = NULL;
  const struct tok_mech *oaep_mech = read_params(mechanism, &aes_len, &oaep);
  if (oaep_mech == NULL) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = RAND_priv_bytes_ex(tok_module->crypto, aes, aes_len, 0) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
  if (rv == CKR_OK) rv = tok_op_run(oaep_mech, TOK_ENCRYPT, &oaep, wrapping_key, aes, aes_len, &first, &first_len);
  /* It is the RSA key that is too short for hash and AES key, not the key to be wrapped. */
  if (rv == CKR_DATA_LEN_RANGE) rv = CKR_KEY_SIZE_RANGE;
  if (rv == CKR_OK) rv = keywrap(aes, aes_len, true, secret, len, &second, &second_len);
  if (rv != CKR_OK) goto out;
  *out = tok_alloc(first_len + second_len);
  rv = *out != NULL ? CKR_OK : CKR_HOST_MEMORY;
  if (rv != CKR_OK) goto out;
  memcpy(*out, first, first_len);
  memcpy(*out + first_len, second, second_len);
  *out_len = first_len + second_len;
out:
  OPENSSL_cleanse(aes, sizeof aes);
  tok_wipe_free(first, first_len);
  tok_wipe_free(second, second_len);
  return rv;
}

static CK_RV unwrap(const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *unwrapping_key,
                    const CK_BYTE *wrapped, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  (void)mech;
  CK_MECHANISM oaep;
  CK_ULONG aes_len, told_len = 0, modulus_len;
  CK_BYTE *aes = NULL;
  const struct tok_mech *oaep_mech = read_params(mechanism, &aes_len, &oaep);
  if (oaep_mech == NULL) return CKR_MECHANISM_PARAM_INVALID;
  const CK_BYTE *modulus = tok_attrs_get(&unwrapping_key->attrs, CKA_MODULUS, &modulus_len);
  for (; modulus != NULL && modulus_len > 0 && *modulus == 0; modulus++) modulus_len--;
  if (modulus == NULL || len <= modulus_len) return CKR_ENCRYPTED_DATA_LEN_RANGE;
  CK_RV rv = tok_op_run(oaep_mech, TOK_DECRYPT, &oaep, unwrapping_key, wrapped, modulus_len, &aes, &told_len);
  if (rv == CKR_OK && told_len != aes_len) rv = CKR_ENCRYPTED_DATA_INVALID;
  if (rv == CKR_OK) rv = keywrap(aes, aes_len, false, wrapped + modulus_len, len - modulus_len, out, out_len);
  tok_wipe_free(aes, told_len);
  return rv;
}

const struct tok_family tok_family_rsa_aes_wrap = {.wrap = wrap, .unwrap = unwrap};
