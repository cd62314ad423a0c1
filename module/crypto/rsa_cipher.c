/* RSA encryption: PKCS #1 v1.5, OAEP and raw (PKCS #11 3.2, 6.1). */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/hash.h"
#include "crypto/mech.h"
#include "crypto/pkey.h"
#include "crypto/rsa.h"
#include "object/objects.h"

struct rsa_cipher {
  EVP_PKEY_CTX *ctx;
  unsigned form;
  CK_ULONG size;    /* bytes of the modulus */
  CK_ULONG message; /* the longest message */
};

/* What is decrypted is as long as it is: only the size of the modulus and its padding are known before. The answer to a
 * question for the size is the same for every ciphertext. */
static CK_RV room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  (void)step;
  const struct rsa_cipher *rsa = op->state;
  if (op->kind == TOK_ENCRYPT) {
    if (in > rsa->message) return CKR_DATA_LEN_RANGE;
    *out = rsa->size;
    return CKR_OK;
  }
  if (in != rsa->size) return CKR_ENCRYPTED_DATA_LEN_RANGE;
  *out = rsa->message;
  *exact = rsa->form == TOK_RSA_RAW;
  return CKR_OK;
}

static CK_RV encrypt(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  const struct rsa_cipher *rsa = op->state;
  CK_BYTE block[TOK_MAX_RSA];
  size_t size = rsa->size;
  CK_RV rv = CKR_OK;
  bool raw = rsa->form == TOK_RSA_RAW;
  if (raw) rv = tok_rsa_pad(op->key, in, len, block, rsa->size);
  if (rv == CKR_OK && EVP_PKEY_encrypt(rsa->ctx, out, &size, raw ? block : in, raw ? rsa->size : len) != 1)
    rv = CKR_FUNCTION_FAILED;
  if (raw) OPENSSL_cleanse(block, rsa->size);
  *out_len = size;
  return rv;
}

/* Whatever is wrong with the padding has one code and one way here (OpenSSL looks at the padding in constant time); that it
 * can be told from success at all is C_Decrypt's nature. tok_pkcs1_unwrap hides that too. */
static CK_RV decrypt(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  const struct rsa_cipher *rsa = op->state;
  CK_BYTE block[TOK_MAX_RSA];
  size_t size = rsa->size;
  CK_RV rv = CKR_ENCRYPTED_DATA_INVALID;
  if (EVP_PKEY_decrypt(rsa->ctx, block, &size, in, len) == 1 && size <= rsa->message) {
    memcpy(out, block, size);
    *out_len = size;
    rv = CKR_OK;
  }
  OPENSSL_cleanse(block, rsa->size);
  return rv;
}

static CK_RV single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  return (op->kind == TOK_ENCRYPT ? encrypt : decrypt)(op, in, len, out, out_len);
}

static void free_state(struct tok_op *op)
{
  struct rsa_cipher *rsa = op->state;
  if (rsa == NULL) return;
  EVP_PKEY_CTX_free(rsa->ctx);
  tok_wipe_free(rsa, sizeof *rsa);
  op->state = NULL;
}

static const struct tok_op_type type = {.room = room, .single = single, .free = free_state};

/* CK_RSA_PKCS_OAEP_PARAMS. A source of 0 is taken if there is no label: many callers leave it so. */
static CK_RV read_oaep(CK_MECHANISM_PTR mechanism, const CK_RSA_PKCS_OAEP_PARAMS **result, enum tok_hash *hash,
                       enum tok_hash *mgf)
{
  const CK_RSA_PKCS_OAEP_PARAMS *params = tok_mech_param(mechanism, sizeof *params);
  if (params == NULL) return CKR_MECHANISM_PARAM_INVALID;
  *hash = tok_hash_by_mechanism(params->hashAlg);
  *mgf = tok_hash_by_mgf(params->mgf);
  if (*hash == TOK_HASH_NONE || *hash == TOK_MD5 || *mgf == TOK_HASH_NONE) return CKR_MECHANISM_PARAM_INVALID;
  if (params->source != CKZ_DATA_SPECIFIED && (params->source != 0 || params->ulSourceDataLen != 0))
    return CKR_MECHANISM_PARAM_INVALID;
  if (params->ulSourceDataLen > 0 && params->pSourceData == NULL) return CKR_MECHANISM_PARAM_INVALID;
  *result = params;
  return CKR_OK;
}

CK_RV tok_rsa_cipher(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  const CK_RSA_PKCS_OAEP_PARAMS *oaep = NULL;
  enum tok_hash hash = TOK_HASH_NONE, mgf = TOK_HASH_NONE;
  unsigned form = TOK_RSA_OF(op->mech->arg);
  int padding = form == TOK_RSA_OAEP   ? RSA_PKCS1_OAEP_PADDING
                : form == TOK_RSA_PKCS ? RSA_PKCS1_PADDING
                                       : RSA_NO_PADDING;
  OSSL_PARAM params[5], *param = params;
  CK_ULONG bits = 0, size = 0, overhead = form == TOK_RSA_PKCS ? 11 : 0;
  EVP_PKEY *pkey = NULL;
  CK_RV rv = tok_rsa_size(op, &bits, &size);
  if (rv != CKR_OK) return rv;
  if (form == TOK_RSA_OAEP)
    rv = read_oaep(mechanism, &oaep, &hash, &mgf);
  else if (!tok_mech_bare(mechanism))
    rv = CKR_MECHANISM_PARAM_INVALID;
  if (rv != CKR_OK) return rv;
  *param++ = OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &padding);
  if (oaep != NULL) {
    *param++ = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, (char *)tok_hash_name(hash), 0);
    *param++ = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, (char *)tok_hash_name(mgf), 0);
    if (oaep->ulSourceDataLen > 0)
      *param++ = OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, oaep->pSourceData,
                                                   oaep->ulSourceDataLen);
    overhead = 2 + 2 * tok_hash_size(hash);
    if (overhead > size) return CKR_KEY_SIZE_RANGE;
  }
  *param = OSSL_PARAM_construct_end();
  rv = tok_object_pkey(op->key, &pkey);
  if (rv != CKR_OK) return rv;
  struct rsa_cipher *rsa = tok_alloc(sizeof *rsa);
  if (rsa == NULL) return CKR_HOST_MEMORY;
  *rsa = (struct rsa_cipher){.form = form, .size = size, .message = size - overhead};
  op->state = rsa;
  op->type = &type;
  rsa->ctx = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, pkey, NULL);
  if (rsa->ctx == NULL) return CKR_HOST_MEMORY;
  int ready = (op->kind == TOK_ENCRYPT ? EVP_PKEY_encrypt_init_ex : EVP_PKEY_decrypt_init_ex)(rsa->ctx, params);
  return ready == 1 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}
