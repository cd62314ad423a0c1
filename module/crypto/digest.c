/* Family `hash`: digests. */
#include <stdlib.h>

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

static CK_RV digest_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  (void)out;
  if (out_len != NULL) *out_len = 0;
  return tok_hash_update(op->state, in, len);
}

static CK_RV digest_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  *out_len = tok_hash_size(TOK_HASH_OF(op->mech->arg));
  return tok_hash_finish(op->state, out);
}

static bool digest_save(struct tok_op *op, struct tok_saving *to)
{
  if (!tok_hash_open(TOK_HASH_OF(op->mech->arg))) return false;
  tok_save_bytes(to, NULL, 0);
  tok_hash_save(op->state, to);
  return true;
}

static CK_RV digest_restore(struct tok_op *op, struct tok_saved *from)
{
  return tok_hash_restore(op->state, from) ? CKR_OK : CKR_SAVED_STATE_INVALID;
}

static void digest_free(struct tok_op *op)
{
  if (op->state == NULL) return;
  tok_hash_clear(op->state);
  free(op->state);
  op->state = NULL;
}

static const struct tok_op_type digest_type = {.room = digest_room,
                                               .update = digest_update,
                                               .final = digest_final,
                                               .save = digest_save,
                                               .restore = digest_restore,
                                               .free = digest_free};

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  op->type = &digest_type;
  op->state = tok_alloc(sizeof(struct tok_hash_state));
  return op->state != NULL ? tok_hash_begin(op->state, TOK_HASH_OF(op->mech->arg)) : CKR_HOST_MEMORY;
}

const struct tok_family tok_family_hash = {.digest = start};
