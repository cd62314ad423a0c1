/* EdDSA, Ed25519 and Ed448 (PKCS #11 3.2, 6.3; RFC 8032). */
#include <openssl/evp.h>
#include <string.h>

#include "core/module.h"
#include "crypto/ec_point.h"
#include "crypto/mech.h"
#include "crypto/op.h"
#include "crypto/pkey.h"

/* The message is needed twice, so parts are kept until the end. */
struct eddsa {
  EVP_MD_CTX *ctx;
  CK_ULONG size; /* of the signature */
  CK_BYTE *data;
  CK_ULONG len, room;
};

static CK_RV room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  (void)in;
  const struct eddsa *eddsa = op->state;
  *out = step == TOK_STEP_UPDATE ? 0 : eddsa->size;
  *exact = true;
  return CKR_OK;
}

static CK_RV update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  (void)out;
  struct eddsa *eddsa = op->state;
  if (out_len != NULL) *out_len = 0;
  if (len > (CK_ULONG)PTRDIFF_MAX - eddsa->len) return CKR_TOKEN_RESOURCE_EXCEEDED;
  if (eddsa->len + len > eddsa->room) {
    CK_ULONG more = eddsa->len + len > eddsa->len * 2 ? eddsa->len + len : eddsa->len * 2;
    CK_BYTE *data = tok_alloc(more);
    if (data == NULL) return CKR_TOKEN_RESOURCE_EXCEEDED;
    if (eddsa->len > 0) memcpy(data, eddsa->data, eddsa->len);
    tok_wipe_free(eddsa->data, eddsa->room);
    eddsa->data = data;
    eddsa->room = more;
  }
  if (len > 0) memcpy(eddsa->data + eddsa->len, in, len);
  eddsa->len += len;
  return CKR_OK;
}

static CK_RV single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct eddsa *eddsa = op->state;
  size_t size = eddsa->size;
  int done = EVP_DigestSign(eddsa->ctx, out, &size, in, len);
  *out_len = size;
  return done == 1 && size == eddsa->size ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  const struct eddsa *eddsa = op->state;
  return single(op, eddsa->data, eddsa->len, out, out_len);
}

static CK_RV verify_single(struct tok_op *op, const CK_BYTE *data, CK_ULONG data_len, const CK_BYTE *signature,
                           CK_ULONG len)
{
  struct eddsa *eddsa = op->state;
  if (len != eddsa->size) return CKR_SIGNATURE_LEN_RANGE;
  int good = EVP_DigestVerify(eddsa->ctx, signature, len, data, data_len);
  return good == 1 ? CKR_OK : CKR_SIGNATURE_INVALID;
}

static CK_RV verify(struct tok_op *op, const CK_BYTE *signature, CK_ULONG len)
{
  const struct eddsa *eddsa = op->state;
  return verify_single(op, eddsa->data, eddsa->len, signature, len);
}

static void free_state(struct tok_op *op)
{
  struct eddsa *eddsa = op->state;
  if (eddsa == NULL) return;
  EVP_MD_CTX_free(eddsa->ctx);
  tok_wipe_free(eddsa->data, eddsa->room);
  tok_wipe_free(eddsa, sizeof *eddsa);
  op->state = NULL;
}

static const struct tok_op_type type = {.room = room,
                                        .update = update,
                                        .final = final,
                                        .single = single,
                                        .verify = verify,
                                        .verify_single = verify_single,
                                        .free = free_state};

/* OpenSSL 3.0 has the pure schemes only, without context. Parameters that say the same (no hashing first, an empty context)
 * are taken for both curves: Ed448 wants them so, and Ed25519ctx with an empty context is used by nobody (RFC 8032, 5.1). */
static bool is_pure(CK_MECHANISM_PTR mechanism)
{
  if (tok_mech_bare(mechanism)) return true;
  const CK_EDDSA_PARAMS *params = tok_mech_param(mechanism, sizeof *params);
  return params != NULL && params->phFlag == CK_FALSE && params->ulContextDataLen == 0;
}

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  const struct tok_curve *curve = NULL;
  EVP_PKEY *pkey = NULL;
  if (!is_pure(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = tok_attrs_curve(&op->key->attrs, &curve);
  if (rv != CKR_OK || curve->kind != TOK_EDWARDS) return CKR_KEY_HANDLE_INVALID;
  rv = tok_object_pkey(op->key, &pkey);
  if (rv != CKR_OK) return rv;
  struct eddsa *eddsa = tok_alloc(sizeof *eddsa);
  if (eddsa == NULL) return CKR_HOST_MEMORY;
  op->state = eddsa;
  op->type = &type;
  eddsa->size = curve->signature;
  eddsa->ctx = EVP_MD_CTX_new();
  int ready = 0;
  if (eddsa->ctx != NULL)
    ready = (op->kind == TOK_SIGN ? EVP_DigestSignInit_ex : EVP_DigestVerifyInit_ex)(
        eddsa->ctx, NULL, NULL, tok_module->crypto, NULL, pkey, NULL);
  if (ready == 1) return CKR_OK;
  free_state(op);
  return CKR_FUNCTION_FAILED;
}

const struct tok_family tok_family_eddsa = {.sign = start};
