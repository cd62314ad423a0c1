/* Message authentication codes. */
#include "crypto/mac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "core/module.h"
#include "crypto/hash.h"
#include "crypto/mech.h"
#include "crypto/park.h"

enum { LONGEST = EVP_MAX_MD_SIZE };

struct state {
  struct tok_parked parked;
  EVP_MAC_CTX *context;
  CK_ULONG len; /* of the MAC that is wanted */
  bool finished;
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
  return EVP_MAC_update(state->context, in, len) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* All of it, of which the caller gets the first bytes. */
static CK_RV finish(struct state *state, CK_BYTE mac[LONGEST])
{
  size_t len = 0;
  if (EVP_MAC_final(state->context, mac, &len, LONGEST) != 1 || len < state->len) return CKR_FUNCTION_FAILED;
  state->finished = true;
  return CKR_OK;
}

static CK_RV mac_final(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  struct state *state = op->state;
  CK_BYTE mac[LONGEST];
  CK_RV rv = finish(state, mac);
  if (rv == CKR_OK) {
    for (CK_ULONG i = 0; i < state->len; i++) out[i] = mac[i];
    *out_len = state->len;
  }
  OPENSSL_cleanse(mac, sizeof mac);
  return rv;
}

static CK_RV mac_verify(struct tok_op *op, const CK_BYTE *signature, CK_ULONG len)
{
  struct state *state = op->state;
  if (len != state->len) return CKR_SIGNATURE_LEN_RANGE;
  CK_BYTE mac[LONGEST];
  CK_RV rv = finish(state, mac);
  if (rv == CKR_OK && CRYPTO_memcmp(mac, signature, len) != 0) rv = CKR_SIGNATURE_INVALID;
  OPENSSL_cleanse(mac, sizeof mac);
  return rv;
}

static void state_free(struct tok_parked *parked)
{
  struct state *state = (struct state *)parked;
  EVP_MAC_CTX_free(state->context);
  tok_wipe_free(state, sizeof *state);
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

static const struct tok_op_type mac_type = {
    .room = mac_room, .update = mac_update, .final = mac_final, .verify = mac_verify, .free = mac_free};

CK_RV tok_mac_start(struct tok_op *op, CK_MECHANISM_PTR mechanism, CK_ULONG full,
                    CK_RV (*make)(struct tok_op *op, EVP_MAC_CTX **context))
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
  bool fresh = state == NULL;
  if (fresh) state = tok_alloc(sizeof *state);
  if (state == NULL) return CKR_HOST_MEMORY;
  op->state = state;
  op->type = &mac_type;
  state->parked = (struct tok_parked){op->mech, op->kind, state_free};
  state->len = len;
  state->finished = false;
  if (fresh) return make(op, &state->context);
  /* Without a key: begin again with the one that is there. */
  return EVP_MAC_init(state->context, NULL, 0, NULL) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}
