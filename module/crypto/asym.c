/* Signing and verifying with asymmetric keys: the hash, and what is the same for all. */
#include "crypto/asym.h"

#include <openssl/evp.h>
#include <string.h>

#include "core/module.h"
#include "crypto/der.h"
#include "crypto/mech.h"
#include "crypto/pkey.h"

static CK_RV room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  (void)in;
  const struct tok_asym *asym = op->state;
  *out = step == TOK_STEP_UPDATE ? 0 : asym->size;
  *exact = true;
  return CKR_OK;
}

static CK_RV update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  (void)out;
  struct tok_asym *asym = op->state;
  if (out_len != NULL) *out_len = 0;
  return EVP_DigestUpdate(asym->md, in, len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV digest(struct tok_asym *asym, CK_BYTE bytes[EVP_MAX_MD_SIZE], unsigned *len)
{
  return EVP_DigestFinal_ex(asym->md, bytes, len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_asym *asym = op->state;
  CK_BYTE bytes[EVP_MAX_MD_SIZE];
  unsigned len = 0;
  CK_RV rv = digest(asym, bytes, &len);
  if (rv == CKR_OK) rv = asym->type->sign(asym, bytes, len, out);
  *out_len = asym->size;
  return rv;
}

static CK_RV verify(struct tok_op *op, const CK_BYTE *signature, CK_ULONG signature_len)
{
  struct tok_asym *asym = op->state;
  CK_BYTE bytes[EVP_MAX_MD_SIZE];
  unsigned len = 0;
  CK_RV rv = digest(asym, bytes, &len);
  return rv == CKR_OK ? asym->type->verify(asym, bytes, len, signature, signature_len) : rv;
}

static CK_RV single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_asym *asym = op->state;
  *out_len = asym->size;
  return asym->type->sign(asym, in, len, out);
}

static CK_RV verify_single(struct tok_op *op, const CK_BYTE *data, CK_ULONG data_len, const CK_BYTE *signature,
                           CK_ULONG len)
{
  struct tok_asym *asym = op->state;
  return asym->type->verify(asym, data, data_len, signature, len);
}

static void free_state(struct tok_op *op)
{
  struct tok_asym *asym = op->state;
  if (asym == NULL) return;
  EVP_PKEY_CTX_free(asym->ctx);
  EVP_MD_CTX_free(asym->md);
  tok_wipe_free(asym, sizeof *asym);
  op->state = NULL;
}

/* Without a hash in the mechanism there is one part only: "single-part operations only" (PKCS #11 3.2, 6.1 to 6.3). */
static const struct tok_op_type whole = {
    .room = room, .single = single, .verify_single = verify_single, .free = free_state};
static const struct tok_op_type hashed = {
    .room = room, .update = update, .final = final, .verify = verify, .free = free_state};

CK_RV tok_asym_start(struct tok_op *op, const struct tok_asym_type *type, enum tok_hash hash, CK_ULONG bits,
                     const OSSL_PARAM *params, struct tok_asym **result)
{
  if (bits < op->mech->min || bits > op->mech->max) return CKR_KEY_SIZE_RANGE;
  struct tok_asym *asym = tok_alloc(sizeof *asym);
  if (asym == NULL) return CKR_HOST_MEMORY;
  op->state = asym;
  op->type = hash == TOK_HASH_NONE ? &whole : &hashed;
  *asym = (struct tok_asym){.type = type, .mech = op->mech, .key = op->key, .hash = hash, .bits = bits};
  CK_RV rv = tok_object_pkey(op->key, &asym->pkey);
  if (rv != CKR_OK) goto out;
  rv = CKR_HOST_MEMORY;
  asym->ctx = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, asym->pkey, NULL);
  if (hash != TOK_HASH_NONE) asym->md = EVP_MD_CTX_new();
  if (asym->ctx == NULL || (hash != TOK_HASH_NONE && asym->md == NULL)) goto out;
  rv = CKR_MECHANISM_PARAM_INVALID;
  if ((op->kind == TOK_SIGN ? EVP_PKEY_sign_init_ex : EVP_PKEY_verify_init_ex)(asym->ctx, params) != 1) goto out;
  rv = CKR_FUNCTION_FAILED;
  if (hash != TOK_HASH_NONE && EVP_DigestInit_ex2(asym->md, tok_hash_md(hash), NULL) != 1) goto out;
  *result = asym;
  return CKR_OK;
out:
  free_state(op);
  return rv;
}

CK_RV tok_asym_raw_sign(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, size_t *size)
{
  return EVP_PKEY_sign(asym->ctx, signature, size, data, len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

CK_RV tok_asym_raw_verify(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                          CK_ULONG signature_len)
{
  return EVP_PKEY_verify(asym->ctx, signature, signature_len, data, len) == 1 ? CKR_OK : CKR_SIGNATURE_INVALID;
}

#define MAX_RS_DER 160 /* two numbers of P-521 */

CK_RV tok_asym_rs_sign(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, CK_BYTE *signature)
{
  CK_BYTE der[MAX_RS_DER];
  size_t der_len = sizeof der;
  CK_RV rv = tok_asym_raw_sign(asym, data, len, der, &der_len);
  if (rv != CKR_OK) return rv;
  struct tok_der in = {der, der_len}, pair, number;
  if (!tok_der_next(&in, TOK_DER_SEQUENCE, &pair)) return CKR_FUNCTION_FAILED;
  memset(signature, 0, 2 * asym->order);
  for (int i = 1; i <= 2; i++) {
    if (!tok_der_unsigned(&pair, &number) || number.left > asym->order) return CKR_FUNCTION_FAILED;
    memcpy(signature + i * asym->order - number.left, number.at, number.left);
  }
  return CKR_OK;
}

CK_RV tok_asym_rs_verify(struct tok_asym *asym, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                         CK_ULONG signature_len)
{
  struct tok_der_out out = {NULL, 0, 0, false};
  CK_BYTE *der = NULL;
  CK_ULONG der_len = 0, half = signature_len / 2;
  size_t begin = tok_der_begin(&out);
  tok_der_put_unsigned(&out, signature, half);
  tok_der_put_unsigned(&out, signature + half, half);
  tok_der_end(&out, begin, TOK_DER_SEQUENCE);
  CK_RV rv = tok_der_finish(&out, &der, &der_len);
  if (rv == CKR_OK) rv = tok_asym_raw_verify(asym, data, len, der, der_len);
  tok_wipe_free(der, der_len);
  return rv;
}
