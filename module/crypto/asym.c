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
  asym->whole = rv == CKR_OK;
  *out_len = asym->size;
  return rv;
}

static CK_RV verify(struct tok_op *op, const CK_BYTE *signature, CK_ULONG signature_len)
{
  struct tok_asym *asym = op->state;
  CK_BYTE bytes[EVP_MAX_MD_SIZE];
  unsigned len = 0;
  CK_RV rv = digest(asym, bytes, &len);
  asym->whole = rv == CKR_OK;
  return rv == CKR_OK ? asym->type->verify(asym, bytes, len, signature, signature_len) : rv;
}

static CK_RV single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct tok_asym *asym = op->state;
  *out_len = asym->size;
  asym->whole = true;
  return asym->type->sign(asym, in, len, out);
}

static CK_RV verify_single(struct tok_op *op, const CK_BYTE *data, CK_ULONG data_len, const CK_BYTE *signature,
                           CK_ULONG len)
{
  struct tok_asym *asym = op->state;
  asym->whole = true;
  return asym->type->verify(asym, data, data_len, signature, len);
}

static void free_asym(struct tok_parked *parked)
{
  struct tok_asym *asym = (struct tok_asym *)parked;
  EVP_PKEY_CTX_free(asym->ctx);
  EVP_MD_CTX_free(asym->md);
  tok_wipe_free(asym, sizeof *asym);
}

/* The context stays with the key for the next signature: making one costs a tenth of a signature with P-256. */
static void free_state(struct tok_op *op)
{
  struct tok_asym *asym = op->state;
  if (asym == NULL) return;
  op->state = NULL;
  if (asym->whole)
    tok_park(op->key, &asym->parked);
  else
    free_asym(&asym->parked);
}

/* Without a hash in the mechanism there is one part only: "single-part operations only" (PKCS #11 3.2, 6.1 to 6.3). */
static const struct tok_op_type whole = {
    .room = room, .single = single, .verify_single = verify_single, .free = free_state};
static const struct tok_op_type hashed = {
    .room = room, .update = update, .final = final, .verify = verify, .free = free_state};

/* Both ways of signing are one kind, and both ways of verifying. */
static enum tok_op_kind kind_of(const struct tok_op *op)
{
  return op->kind == TOK_SIGN || op->kind == TOK_SIGN_RECOVER ? TOK_SIGN : TOK_VERIFY;
}

/* A context that was parked with the key, if it is for the same parameter. */
static struct tok_asym *take(const struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  struct tok_asym *asym = (struct tok_asym *)tok_park_take(op->key, op->mech, kind_of(op));
  if (asym == NULL) return NULL;
  if (asym->param_len == mechanism->ulParameterLen &&
      (asym->param_len == 0 || memcmp(asym->param, mechanism->pParameter, asym->param_len) == 0))
    return asym;
  free_asym(&asym->parked);
  return NULL;
}

static CK_RV make(struct tok_asym *asym, enum tok_op_kind kind, const OSSL_PARAM *params)
{
  CK_RV rv = tok_object_pkey(asym->key, &asym->pkey);
  if (rv != CKR_OK) return rv;
  asym->ctx = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, asym->pkey, NULL);
  if (asym->hash != TOK_HASH_NONE) asym->md = EVP_MD_CTX_new();
  if (asym->ctx == NULL || (asym->hash != TOK_HASH_NONE && asym->md == NULL)) return CKR_HOST_MEMORY;
  int ready = (kind == TOK_SIGN ? EVP_PKEY_sign_init_ex : EVP_PKEY_verify_init_ex)(asym->ctx, params);
  return ready == 1 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

CK_RV tok_asym_start(struct tok_op *op, CK_MECHANISM_PTR mechanism, const struct tok_asym_type *type,
                     enum tok_hash hash, CK_ULONG bits, const OSSL_PARAM *params, struct tok_asym **result)
{
  if (bits < op->mech->min || bits > op->mech->max) return CKR_KEY_SIZE_RANGE;
  struct tok_asym *asym = take(op, mechanism);
  CK_RV rv = CKR_OK;
  if (asym == NULL) {
    asym = tok_alloc(sizeof *asym);
    if (asym == NULL) return CKR_HOST_MEMORY;
    *asym = (struct tok_asym){
        .parked = {op->mech, kind_of(op), free_asym},
          .type = type, .mech = op->mech, .key = op->key, .hash = hash
    };
    if (mechanism->ulParameterLen <= sizeof asym->param) {
      asym->param_len = mechanism->ulParameterLen;
      if (asym->param_len > 0) memcpy(asym->param, mechanism->pParameter, asym->param_len);
    }
    rv = make(asym, kind_of(op), params);
  }
  asym->whole = false;
  op->state = asym;
  op->type = hash == TOK_HASH_NONE ? &whole : &hashed;
  if (rv == CKR_OK && hash != TOK_HASH_NONE && EVP_DigestInit_ex2(asym->md, tok_hash_md(hash), NULL) != 1)
    rv = CKR_FUNCTION_FAILED;
  *result = asym;
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
