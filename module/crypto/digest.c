/* Family `hash`: digests. */
#include <openssl/evp.h>

#include "crypto/hash.h"
#include "crypto/mech.h"
#include "crypto/op.h"

static CK_RV digest_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  (void)in;
  (void)exact;
  *out = step == TOK_STEP_UPDATE ? 0 : tok_hash_size(TOK_HASH_OF(op->mech->arg));
  return CKR_OK;
}

static CK_RV digest_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  (void)out;
  if (out_len != NULL) *out_len = 0;
  return EVP_DigestUpdate(op->state, in, len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV digest_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  unsigned len = 0;
  if (EVP_DigestFinal_ex(op->state, out, &len) != 1) return CKR_FUNCTION_FAILED;
  *out_len = len;
  return CKR_OK;
}

static void digest_free(struct tok_op *op)
{
  EVP_MD_CTX_free(op->state);
  op->state = NULL;
}

static const struct tok_op_type digest_type = {
    .room = digest_room, .update = digest_update, .final = digest_final, .free = digest_free};

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  op->type = &digest_type;
  op->state = EVP_MD_CTX_new();
  if (op->state == NULL) return CKR_HOST_MEMORY;
  return EVP_DigestInit_ex2(op->state, tok_hash_md(TOK_HASH_OF(op->mech->arg)), NULL) == 1 ? CKR_OK
                                                                                           : CKR_FUNCTION_FAILED;
}

const struct tok_family tok_family_hash = {.digest = start};
