/* An operation that is active in a session: what C_EncryptInit ... C_VerifyFinal share.
 *
 * The chapters (encrypt.c, digest.c, sign.c, verify.c) know the standard's rules of calling; a mechanism's family
 * (crypto/) only computes. Between them is this table of functions. */
#ifndef TOK_OP_H
#define TOK_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sessions.h"
#include "pkcs11.h"

struct tok_mech;
struct tok_object;
struct tok_op;
struct tok_messages;

/* Asked for the room that the next step needs. */
enum tok_step {
  TOK_STEP_SINGLE,
  TOK_STEP_UPDATE,
  TOK_STEP_FINAL,
  TOK_STEP_LAST /* messages: the last part and the end in one; a family is asked for the room of TOK_STEP_FINAL */
};

struct tok_op_type {
  /* Bytes that a step on `in` bytes of input can write: an upper bound; `*exact` (true before the call) tells that
   * it will be just that many. A length that the mechanism can never take may be refused here already
   * (CKR_DATA_LEN_RANGE and the like). *out comes with the size of the caller's buffer, 0 for none: some mechanisms
   * fill it. */
  CK_RV (*room)(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact);
  /* The next part. `out` has the room that was asked for, or is NULL for digests and signatures. NULL function: the
   * mechanism works in one part only, and the functions for several find no operation of theirs
   * (CKR_OPERATION_NOT_INITIALIZED, as in NSS: sftk_GetContext). */
  CK_RV (*update)(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len);
  /* The end of a multi-part operation: the last block, the digest, the signature. */
  CK_RV (*final)(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len);
  /* All in one; NULL: update, then final. in and out may be the same memory (PKCS #11 3.2, 5.1.1... in place). */
  CK_RV (*single)(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len);
  /* Verification instead of final and single: CKR_OK, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE. verify_single
   * NULL: update, then verify. */
  CK_RV (*verify)(struct tok_op *op, const CK_BYTE *signature, CK_ULONG len);
  CK_RV(*verify_single)
  (struct tok_op *op, const CK_BYTE *data, CK_ULONG data_len, const CK_BYTE *signature, CK_ULONG len);
  /* Frees and wipes op->state; called after a start that failed too, if it had set op->type. */
  void (*free)(struct tok_op *op);
};

struct tok_op {
  const struct tok_mech *mech;
  enum tok_op_kind kind;
  const struct tok_op_type *type; /* set by the family's start function */
  struct tok_object *key;         /* a reference; NULL for digests */
  bool updating;                  /* a part has been given: no single-part call any more */
  bool must_authenticate;         /* CKA_ALWAYS_AUTHENTICATE: waits for C_Login(CKU_CONTEXT_SPECIFIC) */
  bool private;                   /* the key is private: the operation dies with the login */
  uint64_t generation;            /* tok_auth_generation at the Init */
  void *state;                    /* the family's */
  bool message;                   /* is one message of an operation of messages: authenticated by a tag of its own */
  struct tok_messages *messages;  /* TOK_MESSAGE_...: instead of `type` and `state`; crypto/message.h */
  /* Output that was computed but did not fit into the caller's buffer; handed out by the repeated call. */
  CK_BYTE *held;
  CK_ULONG held_len, held_room; /* bytes of output, bytes allocated */
  enum tok_step held_step;      /* TOK_STEP_SINGLE or TOK_STEP_FINAL: the step that is to be repeated */
  /* C_VerifySignature: the signature given at the Init. */
  CK_BYTE *signature;
  CK_ULONG signature_len;
};

/* --- for the chapters (crypto/op.c) ------------------------------------------------------------------------- */

/* The Init of an operation: pMechanism NULL cancels the active one (PKCS #11 3.0 and later); CKR_OPERATION_ACTIVE;
 * CKR_MECHANISM_INVALID if the mechanism is not there or not for this (`flag`, CKF_SIGN ...); the key as tok_key_get
 * has it for `usage` (0: no key); the family's start function. */
CK_RV tok_op_init(struct tok_session *session, enum tok_op_kind kind, CK_MECHANISM_PTR mechanism, CK_FLAGS flag,
                  CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE usage);
/* The active operation: CKR_OPERATION_NOT_INITIALIZED; CKR_OPERATION_ACTIVE if `single` and parts were given already;
 * CKR_USER_NOT_LOGGED_IN if the login it was begun under is over or C_Login(CKU_CONTEXT_SPECIFIC) is missing. */
CK_RV tok_op_active(struct tok_session *session, enum tok_op_kind kind, bool single, struct tok_op **op);
/* One step with the standard's convention for output (5.2): out NULL asks for the size, too small a buffer is
 * CKR_BUFFER_TOO_SMALL with the size, and neither loses anything. Ends the operation after the last step. out_len
 * NULL: an update that has no output (digests, signatures). After an error the caller's entry ends the operation. */
CK_RV tok_op_step(struct tok_session *session, struct tok_op *op, enum tok_step step, const CK_BYTE *in, CK_ULONG len,
                  CK_BYTE *out, CK_ULONG *out_len);
/* The same of an operation that is in no session: *over tells that the last step has been done. */
CK_RV tok_op_move(struct tok_op *op, enum tok_step step, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out,
                  CK_ULONG *out_len, bool *over);
/* The end of a verification: what is left of the data (all of it, if no part was given before), and the signature.
 * CKR_OK, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE, CKR_DATA_LEN_RANGE. */
CK_RV tok_op_verify(struct tok_op *op, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                    CK_ULONG signature_len);
/* Frees an operation, its key reference and its state; NULL is allowed. */
void tok_op_free(struct tok_op *op);

/* One message of an operation of messages: an operation of its own with the same key, in no session (tok_op_free). */
CK_RV tok_op_message(struct tok_op *messages, CK_MECHANISM_PTR mechanism, struct tok_op **message);
/* True if the key's owner must be asked for the PIN before the operation, or its next message, goes on. */
bool tok_op_wants_pin(const struct tok_op *op);

/* A whole operation outside any session, for wrapping, derivation, import: starts `mech` with `key` (a reference is
 * taken) and runs it over `in`. *out is the caller's (tok_wipe_free). */
CK_RV tok_op_run(const struct tok_mech *mech, enum tok_op_kind kind, CK_MECHANISM_PTR mechanism, struct tok_object *key,
                 const CK_BYTE *in, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);

#endif
