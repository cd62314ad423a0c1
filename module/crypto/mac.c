/* Message authentication codes. */
#include "crypto/mac.h"

#include <openssl/crypto.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>

#include "core/module.h"
#include "crypto/hash_state.h"
#include "crypto/mech.h"
#include "crypto/park.h"
#include "crypto/saving.h"

struct state {
  struct tok_parked parked;
  const struct tok_mac_type *type;
  CK_ULONG len; /* of the MAC that is wanted */
  bool finished;
  alignas(max_align_t) CK_BYTE own[];
};

static CK_RV mac_room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  const struct state *state = op->state;
  (void)in;
  (void)exact;
  *out = step == TOK_STEP_UPDATE ? 0 : state->len;
  return CKR_OK;
}

static CK_RV mac_update(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  struct state *state = op->state;
  (void)out;
  if (out_len != NULL) *out_len = 0;
  return state->type->update(state->own, in, len);
}

/* All of it, of which the caller gets the first bytes. */
static CK_RV finish(struct state *state, CK_BYTE mac[TOK_MAX_HASH])
{
  CK_ULONG len = 0;
  CK_RV rv = state->type->finish(state->own, mac, &len);
  if (rv == CKR_OK && len < state->len) rv = CKR_FUNCTION_FAILED;
  state->finished = rv == CKR_OK;
  return rv;
}

static CK_RV mac_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  struct state *state = op->state;
  CK_BYTE mac[TOK_MAX_HASH];
  CK_RV rv = finish(state, mac);
  if (rv == CKR_OK) {
    memcpy(out, mac, state->len);
    *out_len = state->len;
  }
  OPENSSL_cleanse(mac, sizeof mac);
  return rv;
}

static CK_RV mac_verify(struct tok_op *op, const CK_BYTE *signature, CK_ULONG len)
{
  struct state *state = op->state;
  if (len != state->len) return CKR_SIGNATURE_LEN_RANGE;
  CK_BYTE mac[TOK_MAX_HASH];
  CK_RV rv = finish(state, mac);
  if (rv == CKR_OK && CRYPTO_memcmp(mac, signature, len) != 0) rv = CKR_SIGNATURE_INVALID;
  OPENSSL_cleanse(mac, sizeof mac);
  return rv;
}

static void state_free(struct tok_parked *parked)
{
  struct state *state = (struct state *)parked;
  state->type->free(state->own);
  tok_wipe_free(state, sizeof *state + state->type->size);
}

static void mac_free(struct tok_op *op)
{
  struct state *state = op->state;
  if (state == NULL) return;
  op->state = NULL;
  if (state->finished)
    tok_park(op->key, &state->parked);
  else
    state_free(&state->parked);
}

static bool mac_save(struct tok_op *op, struct tok_saving *to)
{
  struct state *state = op->state;
  if (state->type->save == NULL) return false;
  bool general = (op->mech->arg & TOK_GENERAL) != 0;
  tok_save_bytes(to, &state->len, general ? sizeof(CK_MAC_GENERAL_PARAMS) : 0);
  return state->type->save(state->own, to);
}

static CK_RV mac_restore(struct tok_op *op, struct tok_saved *from)
{
  struct state *state = op->state;
  return state->type->restore != NULL && state->type->restore(state->own, from) ? CKR_OK : CKR_SAVED_STATE_INVALID;
}

static const struct tok_op_type mac_type = {.room = mac_room,
                                            .update = mac_update,
                                            .final = mac_final,
                                            .verify = mac_verify,
                                            .save = mac_save,
                                            .restore = mac_restore,
                                            .free = mac_free};

CK_RV tok_mac_start(struct tok_op *op, CK_MECHANISM_PTR mechanism, CK_ULONG full, const struct tok_mac_type *type)
{
  CK_ULONG len = full;
  if ((op->mech->arg & TOK_GENERAL) != 0) {
    const CK_MAC_GENERAL_PARAMS *general = tok_mech_param(mechanism, sizeof(CK_MAC_GENERAL_PARAMS));
    if (general == NULL || *general < 1 || *general > full) return CKR_MECHANISM_PARAM_INVALID;
    len = *general;
  } else if (!tok_mech_bare(mechanism)) {
    /* No parameter is due; NSS's TLS names the length of the MAC to the plain HMACs too (ssl3con.c, macParam). */
    const CK_ULONG *named = tok_mech_param(mechanism, sizeof(CK_ULONG));
    if (named == NULL || *named != full) return CKR_MECHANISM_PARAM_INVALID;
  }
  struct state *state = (struct state *)tok_park_take(op->key, op->mech, op->kind);
  CK_RV rv = CKR_OK;
  if (state != NULL) {
    op->state = state;
    op->type = &mac_type;
  } else {
    state = tok_alloc(sizeof *state + type->size);
    if (state == NULL) return CKR_HOST_MEMORY;
    state->parked = (struct tok_parked){op->mech, op->kind, state_free};
    state->type = type;
    op->state = state;
    op->type = &mac_type;
    rv = type->make(op, state->own);
  }
  state->len = len;
  state->finished = false;
  return rv == CKR_OK ? type->begin(state->own) : rv;
}
