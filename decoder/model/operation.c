/* What is at work in each session, from the answers of the functions that begin, continue and end it. */
#include "decoder/model/model.h"

enum step { STEP_NO, STEP_INIT, STEP_WHOLE, STEP_UPDATE, STEP_FINAL, STEP_KEEP };

/* The operation and the step of each function that works on one. WHOLE: single part; KEEP: leaves the state as it is. */
/* clang-format off */
static const struct {
  uint8_t op, step;
} table[P11_FUNCTIONS] = {
  [P11_F_C_FindObjectsInit] = {OP_FIND, STEP_INIT},
  [P11_F_C_FindObjects] = {OP_FIND, STEP_UPDATE},
  [P11_F_C_FindObjectsFinal] = {OP_FIND, STEP_FINAL},
  [P11_F_C_EncryptInit] = {OP_ENCRYPT, STEP_INIT},
  [P11_F_C_Encrypt] = {OP_ENCRYPT, STEP_WHOLE},
  [P11_F_C_EncryptUpdate] = {OP_ENCRYPT, STEP_UPDATE},
  [P11_F_C_EncryptFinal] = {OP_ENCRYPT, STEP_FINAL},
  [P11_F_C_DecryptInit] = {OP_DECRYPT, STEP_INIT},
  [P11_F_C_Decrypt] = {OP_DECRYPT, STEP_WHOLE},
  [P11_F_C_DecryptUpdate] = {OP_DECRYPT, STEP_UPDATE},
  [P11_F_C_DecryptFinal] = {OP_DECRYPT, STEP_FINAL},
  [P11_F_C_DigestInit] = {OP_DIGEST, STEP_INIT},
  [P11_F_C_Digest] = {OP_DIGEST, STEP_WHOLE},
  [P11_F_C_DigestUpdate] = {OP_DIGEST, STEP_UPDATE},
  [P11_F_C_DigestKey] = {OP_DIGEST, STEP_UPDATE},
  [P11_F_C_DigestFinal] = {OP_DIGEST, STEP_FINAL},
  [P11_F_C_SignInit] = {OP_SIGN, STEP_INIT},
  [P11_F_C_Sign] = {OP_SIGN, STEP_WHOLE},
  [P11_F_C_SignUpdate] = {OP_SIGN, STEP_UPDATE},
  [P11_F_C_SignFinal] = {OP_SIGN, STEP_FINAL},
  [P11_F_C_SignRecoverInit] = {OP_SIGN_RECOVER, STEP_INIT},
  [P11_F_C_SignRecover] = {OP_SIGN_RECOVER, STEP_WHOLE},
  [P11_F_C_VerifyInit] = {OP_VERIFY, STEP_INIT},
  [P11_F_C_Verify] = {OP_VERIFY, STEP_WHOLE},
  [P11_F_C_VerifyUpdate] = {OP_VERIFY, STEP_UPDATE},
  [P11_F_C_VerifyFinal] = {OP_VERIFY, STEP_FINAL},
  [P11_F_C_VerifyRecoverInit] = {OP_VERIFY_RECOVER, STEP_INIT},
  [P11_F_C_VerifyRecover] = {OP_VERIFY_RECOVER, STEP_WHOLE},
  [P11_F_C_VerifySignatureInit] = {OP_VERIFY_SIGNATURE, STEP_INIT},
  [P11_F_C_VerifySignature] = {OP_VERIFY_SIGNATURE, STEP_WHOLE},
  [P11_F_C_VerifySignatureUpdate] = {OP_VERIFY_SIGNATURE, STEP_UPDATE},
  [P11_F_C_VerifySignatureFinal] = {OP_VERIFY_SIGNATURE, STEP_FINAL},
  [P11_F_C_MessageEncryptInit] = {OP_MESSAGE_ENCRYPT, STEP_INIT},
  [P11_F_C_EncryptMessage] = {OP_MESSAGE_ENCRYPT, STEP_KEEP},
  [P11_F_C_EncryptMessageBegin] = {OP_MESSAGE_ENCRYPT, STEP_KEEP},
  [P11_F_C_EncryptMessageNext] = {OP_MESSAGE_ENCRYPT, STEP_KEEP},
  [P11_F_C_MessageEncryptFinal] = {OP_MESSAGE_ENCRYPT, STEP_FINAL},
  [P11_F_C_MessageDecryptInit] = {OP_MESSAGE_DECRYPT, STEP_INIT},
  [P11_F_C_DecryptMessage] = {OP_MESSAGE_DECRYPT, STEP_KEEP},
  [P11_F_C_DecryptMessageBegin] = {OP_MESSAGE_DECRYPT, STEP_KEEP},
  [P11_F_C_DecryptMessageNext] = {OP_MESSAGE_DECRYPT, STEP_KEEP},
  [P11_F_C_MessageDecryptFinal] = {OP_MESSAGE_DECRYPT, STEP_FINAL},
  [P11_F_C_MessageSignInit] = {OP_MESSAGE_SIGN, STEP_INIT},
  [P11_F_C_SignMessage] = {OP_MESSAGE_SIGN, STEP_KEEP},
  [P11_F_C_SignMessageBegin] = {OP_MESSAGE_SIGN, STEP_KEEP},
  [P11_F_C_SignMessageNext] = {OP_MESSAGE_SIGN, STEP_KEEP},
  [P11_F_C_MessageSignFinal] = {OP_MESSAGE_SIGN, STEP_FINAL},
  [P11_F_C_MessageVerifyInit] = {OP_MESSAGE_VERIFY, STEP_INIT},
  [P11_F_C_VerifyMessage] = {OP_MESSAGE_VERIFY, STEP_KEEP},
  [P11_F_C_VerifyMessageBegin] = {OP_MESSAGE_VERIFY, STEP_KEEP},
  [P11_F_C_VerifyMessageNext] = {OP_MESSAGE_VERIFY, STEP_KEEP},
  [P11_F_C_MessageVerifyFinal] = {OP_MESSAGE_VERIFY, STEP_FINAL},
};
/* clang-format on */

int model_op_of(int function)
{
  return function >= 0 && function < P11_FUNCTIONS && table[function].step ? table[function].op : -1;
}

static void begin(const struct call *call, struct model_place *place, struct model_operation *op)
{
  const int mechanism = pick_kind(call, P11_K_MECHANISM);
  int key = pick_kind(call, P11_K_KEY);
  /* PKCS #11, "a NULL mechanism cancels": what was at work is over, whatever the answer to a cancel that is not known. */
  if (mechanism >= 0 && pick_is_null(call, (unsigned)mechanism)) {
    *op = (struct model_operation){
        .state = call->rv == CKR_OK || call->rv == CKR_OPERATION_NOT_INITIALIZED ? OP_NONE : OP_UNKNOWN};
    return;
  }
  if (call->rv != CKR_OK) return; /* an Init that fails leaves what was there */
  *op = (struct model_operation){.state = OP_INIT, .mechanism = CK_UNAVAILABLE_INFORMATION};
  if (mechanism >= 0 && call->arg[mechanism].in.what == VALUE_MECHANISM) op->mechanism = call->arg[mechanism].in.number;
  if (key < 0) key = pick_kind(call, P11_K_OBJECT);
  if (key >= 0) pick_in(call, (unsigned)key, &op->key);
  model_note(place, &op->begun, call);
}

/* Does the call only ask for a length? Then the operation goes on (section "Conventions for functions returning output"). */
static bool asks_length(const struct call *call)
{
  const int out = pick_kind(call, P11_K_OUT_BYTES);
  return out >= 0 && pick_is_null(call, (unsigned)out);
}

static void go_on(const struct call *call, struct model_operation *op, enum step step)
{
  if (call->rv == CKR_BUFFER_TOO_SMALL || (call->rv == CKR_OK && asks_length(call))) return;
  if (call->rv == CKR_OPERATION_NOT_INITIALIZED) {
    op->state = OP_NONE;
    return;
  }
  if (call->rv == CKR_OK && step == STEP_UPDATE) {
    op->state = OP_UPDATING;
    return;
  }
  if (step == STEP_KEEP) return;
  if (call->known == P11_F_C_FindObjects) return; /* an error of a search leaves it to C_FindObjectsFinal */
  *op = (struct model_operation){.state = OP_NONE};
}

static void context_login(const struct call *call, struct model_place *place)
{
  uint64_t user;
  if (call->rv != CKR_OK || !pick_in(call, 1, &user) || user != CKU_CONTEXT_SPECIFIC) return;
  for (int i = 0; i < OP_KINDS; i++) {
    struct model_operation *op = &place->session->op[i];
    if (op->state != OP_INIT || i == OP_FIND || i == OP_DIGEST) continue;
    op->context = true;
    model_note(place, &op->login, call);
  }
}

/* Dual functions work on two operations; what became of them is told by the next call only. */
static void dual(struct model_session *s, int a, int b)
{
  s->op[a].state = s->op[b].state = OP_UNKNOWN;
}

void model_apply_operation(const struct call *call, struct model_place *place)
{
  struct model_session *s = place->session;
  if (!s || call->known < 0) return;
  if (call->state != CALL_DONE) {
    if (table[call->known].step) s->op[table[call->known].op] = (struct model_operation){.state = OP_UNKNOWN};
    return;
  }
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser: context_login(call, place); return;
    case P11_F_C_DigestEncryptUpdate: dual(s, OP_DIGEST, OP_ENCRYPT); return;
    case P11_F_C_DecryptDigestUpdate: dual(s, OP_DECRYPT, OP_DIGEST); return;
    case P11_F_C_SignEncryptUpdate: dual(s, OP_SIGN, OP_ENCRYPT); return;
    case P11_F_C_DecryptVerifyUpdate: dual(s, OP_DECRYPT, OP_VERIFY); return;
    case P11_F_C_SetOperationState:
    case P11_F_C_SessionCancel:
      for (int i = 0; i < OP_KINDS; i++) s->op[i] = (struct model_operation){.state = OP_UNKNOWN};
      return;
    default: break;
  }
  if (!table[call->known].step) return;
  struct model_operation *op = &s->op[table[call->known].op];
  if (table[call->known].step == STEP_INIT)
    begin(call, place, op);
  else
    go_on(call, op, table[call->known].step);
  if (op->state != OP_NONE) model_note(place, &op->last, call);
}
