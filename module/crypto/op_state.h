/* Operations as they are saved by C_GetOperationState: what they are, with which key (a hash of it), and how far they are. */
#ifndef TOK_OP_STATE_H
#define TOK_OP_STATE_H

#include "crypto/op.h"
#include "crypto/saving.h"

/* Writes an active operation. CKR_STATE_UNSAVEABLE. */
CK_RV tok_op_save(struct tok_op *op, struct tok_saving *to);

/* What is known of a saved operation before it is restored; `rest` are what its family wrote. */
struct tok_op_saved {
  enum tok_op_kind kind;
  CK_MECHANISM_TYPE mechanism;
  bool updating;
  const CK_BYTE *key, *signature;
  size_t key_len, signature_len; /* 0: there is none */
  struct tok_saved rest;
};

/* CKR_SAVED_STATE_INVALID. */
CK_RV tok_op_saved_read(struct tok_saved *from, struct tok_op_saved *saved);
/* Begins it again with `key` and goes to where it was. *op is the caller's (tok_op_free). CKR_KEY_CHANGED if the key is
 * another one; CKR_SAVED_STATE_INVALID, and what the beginning of an operation returns about the use of its key. */
CK_RV tok_op_restore(struct tok_session *session, struct tok_op_saved *saved, CK_OBJECT_HANDLE key, struct tok_op **op);

#endif
