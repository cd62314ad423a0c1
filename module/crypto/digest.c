/* Family `hash`: digests. */
#include <openssl/evp.h>

#include "core/module.h"
#include "crypto/hash_state.h"
#include "crypto/mech.h"
#include "crypto/op.h"

static CK_RV digest_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  (void)in;
  (void)exact;
  *out = step == TOK_STEP_UPDATE ? 0 : tok_hash_size(TOK_HASH_OF(op->mech->arg));
  return CKR_OK;
}

/* --- hashes whose state is open (crypto/hash_state.h) ------------------------------------------------------------- */

static CK_RV open_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  (void)out;
  if (out_len != NULL) *out_len = 0;
  return tok_hash_update(op->state, in, len);
}

static CK_RV open_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  *out_len = tok_hash_size(TOK_HASH_OF(op->mech->arg));
  return tok_hash_finish(op->state, out);
}

static bool open_save(struct tok_op *op, struct tok_saving *to)
{
  tok_save_bytes(to, NULL, 0);
  tok_hash_save(op->state, to);
  return true;
}

static CK_RV open_restore(struct tok_op *op, struct tok_saved *from)
{
  return tok_hash_restore(op->state, from) ? CKR_OK : CKR_SAVED_STATE_INVALID;
}

static void open_free(struct tok_op *op)
{
  tok_wipe_free(op->state, sizeof(struct tok_hash_state));
  op->state = NULL;
}

static const struct tok_op_type open_type = {.room = digest_room,
                                             .update = open_update,
                                             .final = open_final,
                                             .save = open_save,
                                             .restore = open_restore,
                                             .free = open_free};

/* --- the others: OpenSSL's context alone, which is one allocation less -------------------------------------------- */

static CK_RV closed_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  (void)out;
  if (out_len != NULL) *out_len = 0;
  return EVP_DigestUpdate(op->state, in, len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV closed_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  *out_len = tok_hash_size(TOK_HASH_OF(op->mech->arg));
  return EVP_DigestFinal_ex(op->state, out, NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static void closed_free(struct tok_op *op)
{
  EVP_MD_CTX_free(op->state);
  op->state = NULL;
}

static const struct tok_op_type closed_type = {
    .room = digest_room, .update = closed_update, .final = closed_final, .free = closed_free};

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  enum tok_hash hash = TOK_HASH_OF(op->mech->arg);
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  bool open = tok_hash_open(hash);
  op->type = open ? &open_type : &closed_type;
  op->state = open ? tok_alloc(sizeof(struct tok_hash_state)) : EVP_MD_CTX_new();
  if (op->state == NULL) return CKR_HOST_MEMORY;
  if (open) return tok_hash_begin(op->state, hash);
  return EVP_DigestInit_ex2(op->state, tok_hash_md(hash), NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

const struct tok_family tok_family_hash = {.digest = start};
