/* Operations of messages: begun and ended. */
#include "crypto/message.h"

#include <string.h>

#include "core/module.h"
#include "crypto/mech.h"

/* Signatures: the parameter is that of C_SignInit. The first message is begun at once, so that a parameter or a key that the
 * mechanism does not take is refused here. */
static CK_RV start_signatures(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  struct tok_messages *messages = op->messages;
  if (mechanism->ulParameterLen > sizeof messages->param) return CKR_MECHANISM_PARAM_INVALID;
  messages->mechanism = *mechanism;
  if (mechanism->ulParameterLen > 0) {
    memcpy(messages->param, mechanism->pParameter, mechanism->ulParameterLen);
    messages->mechanism.pParameter = messages->param;
  }
  return tok_op_message(op, &messages->mechanism, &messages->message);
}

/* Ciphers: the parameter comes with each message. At the Init callers give it too, or none (NSS: pk11_context_init), or one
 * whose members are not yet set. */
static CK_RV start_cipher(const struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  if (tok_mech_bare(mechanism)) return CKR_OK;
  return tok_mech_param(mechanism, tok_aead_message_size(op->mech->arg)) != NULL ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

CK_RV tok_messages_start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  op->messages = tok_alloc(sizeof *op->messages);
  if (op->messages == NULL) return CKR_HOST_MEMORY;
  if (op->kind == TOK_MESSAGE_ENCRYPT || op->kind == TOK_MESSAGE_DECRYPT) return start_cipher(op, mechanism);
  return start_signatures(op, mechanism);
}

void tok_messages_free(struct tok_messages *messages)
{
  if (messages == NULL) return;
  tok_op_free(messages->message);
  tok_wipe_free(messages, sizeof *messages);
}

void tok_messages_drop(struct tok_op *op)
{
  tok_op_free(op->messages->message);
  op->messages->message = NULL;
  op->updating = false;
  op->must_authenticate = tok_op_wants_pin(op);
}

CK_RV tok_messages_final(struct tok_session *session, enum tok_op_kind kind)
{
  struct tok_op *op = session->op[kind];
  if (op == NULL) return CKR_OPERATION_NOT_INITIALIZED;
  if (op->updating) return CKR_OPERATION_ACTIVE;
  tok_session_end(session, kind);
  return CKR_OK;
}
