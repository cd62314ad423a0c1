/* Operations of messages (PKCS #11 3.2, 5.9, 5.11, 5.14, 5.17): one Init, then as many messages as one likes.
 *
 * Each message is an operation of its own (tok_op_message) with the operation's key. The operation in the session keeps what
 * goes from one message to the next: the mechanism's parameter for signatures, the series of nonces for encryption. */
#ifndef TOK_MESSAGE_H
#define TOK_MESSAGE_H

#include "crypto/aead.h"
#include "crypto/op.h"

struct tok_messages {
  struct tok_op *message; /* begun in parts (then op->updating is true) or, of signatures, ready for the next one */
  CK_MECHANISM mechanism; /* signatures: as it was given to the Init */
  CK_BYTE param[sizeof(CK_EDDSA_PARAMS)]; /* the longest that is taken */
  struct tok_iv_series ivs;               /* encryption */
};

/* For tok_op_init and tok_op_free. */
CK_RV tok_messages_start(struct tok_op *op, CK_MECHANISM_PTR mechanism);
void tok_messages_free(struct tok_messages *messages);

/* Gives up a message that has been begun, or is over; the operation goes on. A key that wants the PIN for each use wants it
 * again for the next message. */
void tok_messages_drop(struct tok_op *op);
/* C_Message...Final: CKR_OPERATION_ACTIVE while a message is not finished. */
CK_RV tok_messages_final(struct tok_session *session, enum tok_op_kind kind);

#endif
