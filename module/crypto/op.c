/* Operations: begun, stepped through, ended; the same rules for all of them. */
#include "crypto/op.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/slots.h"
#include "crypto/mech.h"
#include "crypto/message.h"
#include "object/objects.h"

/* The family's function for an operation of this kind. The recovering forms are signatures too: the family sees the
 * kind. */
static CK_RV (*starter(const struct tok_family *family, enum tok_op_kind kind))(struct tok_op *, CK_MECHANISM_PTR)
{
  switch (kind) {
    case TOK_ENCRYPT:
    case TOK_DECRYPT: return family->cipher;
    case TOK_DIGEST: return family->digest;
    default: return family->sign;
  }
}

/* Sets the operation up; what fails leaves an operation that tok_op_free frees. The host's error queue stays as it was:
 * OpenSSL says there why it refused a key or a parameter. */
static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  if (op->kind >= TOK_MESSAGE_ENCRYPT) return tok_messages_start(op, mechanism);
  CK_RV (*begin)(struct tok_op *, CK_MECHANISM_PTR) = starter(op->mech->family, op->kind);
  if (begin == NULL) return CKR_MECHANISM_INVALID;
  ERR_set_mark();
  CK_RV rv = begin(op, mechanism);
  ERR_pop_to_mark();
  return rv;
}

/* PKCS #11 3.2, 4.9 (CKA_ALWAYS_AUTHENTICATE): "the user has to supply the PIN for each use (sign or decrypt) with
 * the key". */
bool tok_op_wants_pin(const struct tok_op *op)
{
  const unsigned uses =
      1u << TOK_SIGN | 1u << TOK_SIGN_RECOVER | 1u << TOK_DECRYPT | 1u << TOK_MESSAGE_SIGN | 1u << TOK_MESSAGE_DECRYPT;
  if (!op->private || (uses >> op->kind & 1) == 0) return false;
  return tok_attrs_bool(&op->key->attrs, CKA_ALWAYS_AUTHENTICATE, false);
}

CK_RV tok_op_init(struct tok_session *session, enum tok_op_kind kind, CK_MECHANISM_PTR mechanism, CK_FLAGS flag,
                  CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE usage)
{
  if (mechanism == NULL) {
    tok_session_end(session, kind);
    return CKR_OK;
  }
  if (session->op[kind] != NULL) return CKR_OPERATION_ACTIVE;
  const struct tok_mech *mech = tok_mech_find(mechanism->mechanism);
  if (mech == NULL || (mech->flags & flag) == 0) return CKR_MECHANISM_INVALID;
  struct tok_op *op = tok_alloc(sizeof *op);
  if (op == NULL) return CKR_HOST_MEMORY;
  op->mech = mech;
  op->kind = kind;
  /* Read before the key is: a logout in between must be seen. */
  op->generation = tok_auth_generation(session->slot);
  CK_RV rv = CKR_OK;
  if (usage != 0) rv = tok_key_get(session, key, mech, usage, &op->key);
  if (rv == CKR_OK) {
    op->private = op->key != NULL && op->key->private;
    op->must_authenticate = tok_op_wants_pin(op);
    rv = start(op, mechanism);
  }
  if (rv == CKR_OK)
    session->op[kind] = op;
  else
    tok_op_free(op);
  return rv;
}

CK_RV tok_op_active(struct tok_session *session, enum tok_op_kind kind, bool single, struct tok_op **op)
{
  struct tok_op *active = session->op[kind];
  if (active == NULL) return CKR_OPERATION_NOT_INITIALIZED;
  if (active->private &&
      (tok_auth_generation(session->slot) != active->generation || tok_auth_who(session->slot) == TOK_NOBODY)) {
    tok_session_end(session, kind);
    return CKR_USER_NOT_LOGGED_IN;
  }
  if (single && active->updating) return CKR_OPERATION_ACTIVE;
  if (active->must_authenticate) return CKR_USER_NOT_LOGGED_IN;
  *op = active;
  return CKR_OK;
}

/* The last part, or all of the input if the mechanism has no shorter way, and the end. */
static CK_RV run_last(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  CK_ULONG done = 0, rest = *out_len;
  CK_RV rv = CKR_OK;
  if (len > 0) {
    done = rest;
    rv = op->type->update(op, in, len, out, &done);
    if (rv != CKR_OK) return rv;
    rest -= done;
  }
  rv = op->type->final(op, out + done, &rest);
  *out_len = done + rest;
  return rv;
}

static CK_RV run_single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  return op->type->single != NULL ? op->type->single(op, in, len, out, out_len) : run_last(op, in, len, out, out_len);
}

/* Input and output in the same place is allowed (PKCS #11 3.2, C_Encrypt) and left to the family. Memory that
 * overlaps in another way is nowhere promised to work; where the output would be written over input not yet read, it
 * does all the same. */
static bool collide(const CK_BYTE *in, CK_ULONG len, const CK_BYTE *out, CK_ULONG room)
{
  uintptr_t a = (uintptr_t)in, b = (uintptr_t)out;
  return out != NULL && in != out && len > 0 && a < b + room && b < a + len;
}

/* A step, for which `out` has room. */
static CK_RV run(struct tok_op *op, enum tok_step step, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out,
                 CK_ULONG *out_len)
{
  CK_BYTE *copy = NULL;
  if (out_len != NULL && collide(in, len, out, *out_len)) {
    in = copy = tok_dup(in, len);
    if (copy == NULL) return CKR_HOST_MEMORY;
  }
  ERR_set_mark();
  CK_RV rv = CKR_FUNCTION_FAILED;
  switch (step) {
    case TOK_STEP_SINGLE: rv = run_single(op, in, len, out, out_len); break;
    case TOK_STEP_UPDATE: rv = op->type->update(op, in, len, out, out_len); break;
    case TOK_STEP_FINAL: rv = op->type->final(op, out, out_len); break;
    case TOK_STEP_LAST: rv = run_last(op, in, len, out, out_len); break;
  }
  ERR_pop_to_mark();
  tok_wipe_free(copy, len);
  return rv;
}

/* Hands out what is held, and gives it up. */
static CK_RV hand_out(struct tok_op *op, CK_BYTE *out, CK_ULONG *out_len)
{
  CK_ULONG room = *out_len;
  *out_len = op->held_len;
  if (out == NULL) return CKR_OK;
  if (room < op->held_len) return CKR_BUFFER_TOO_SMALL;
  if (op->held_len > 0) memcpy(out, op->held, op->held_len);
  return CKR_OK;
}

/* A last step whose output is shorter than its bound by an amount that shows only afterwards (padding), with a buffer
 * shorter than the bound: computed aside, so that a buffer of just the right size is enough. */
static CK_RV run_aside(struct tok_op *op, enum tok_step step, const CK_BYTE *in, CK_ULONG len, CK_ULONG bound,
                       CK_BYTE *out, CK_ULONG *out_len)
{
  op->held = tok_alloc(bound + 1);
  if (op->held == NULL) return CKR_HOST_MEMORY;
  op->held_room = bound + 1;
  op->held_len = bound;
  op->held_step = step;
  CK_RV rv = run(op, step, in, len, op->held, &op->held_len);
  return rv == CKR_OK ? hand_out(op, out, out_len) : rv;
}

CK_RV tok_op_move(struct tok_op *op, enum tok_step step, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out,
                  CK_ULONG *out_len, bool *over)
{
  *over = false;
  static CK_BYTE nothing; /* input of no bytes may come as NULL, which not every function of OpenSSL likes */
  CK_RV rv = CKR_OK;
  if (in == NULL) in = &nothing;
  if (op->held != NULL) {
    if (step != op->held_step) return CKR_OPERATION_ACTIVE;
    rv = hand_out(op, out, out_len);
  } else if (out_len == NULL) {
    if (op->type->update == NULL) return CKR_OPERATION_NOT_INITIALIZED;
    rv = run(op, step, in, len, NULL, NULL);
  } else {
    if (step != TOK_STEP_SINGLE && op->type->update == NULL) return CKR_OPERATION_NOT_INITIALIZED;
    CK_ULONG room = *out_len, bound = out != NULL ? room : 0;
    bool exact = true;
    rv = op->type->room(op, step == TOK_STEP_LAST ? TOK_STEP_FINAL : step, len, &bound, &exact);
    if (rv != CKR_OK) return rv;
    if (out == NULL || (room < bound && (exact || step == TOK_STEP_UPDATE))) {
      *out_len = bound;
      return out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    }
    if (room < bound) {
      rv = run_aside(op, step, in, len, bound, out, out_len);
    } else {
      *out_len = bound;
      rv = run(op, step, in, len, out, out_len);
    }
  }
  if (rv != CKR_OK) return rv;
  if (step == TOK_STEP_UPDATE)
    op->updating = true;
  else
    *over = out != NULL;
  return CKR_OK;
}

CK_RV tok_op_step(struct tok_session *session, struct tok_op *op, enum tok_step step, const CK_BYTE *in, CK_ULONG len,
                  CK_BYTE *out, CK_ULONG *out_len)
{
  bool over = false;
  CK_RV rv = tok_op_move(op, step, in, len, out, out_len, &over);
  if (rv == CKR_OK && over) tok_session_end(session, op->kind);
  return rv;
}

CK_RV tok_op_verify(struct tok_op *op, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *signature,
                    CK_ULONG signature_len)
{
  static const CK_BYTE nothing;
  CK_RV rv = CKR_OK;
  if (data == NULL) data = &nothing;
  if (signature == NULL) signature = &nothing;
  ERR_set_mark();
  if (!op->updating && op->type->verify_single != NULL) {
    rv = op->type->verify_single(op, data, len, signature, signature_len);
  } else {
    if (len > 0) rv = op->type->update(op, data, len, NULL, NULL);
    if (rv == CKR_OK) rv = op->type->verify(op, signature, signature_len);
  }
  ERR_pop_to_mark();
  return rv;
}

CK_RV tok_op_message(struct tok_op *messages, CK_MECHANISM_PTR mechanism, struct tok_op **message)
{
  static const enum tok_op_kind kinds[TOK_OPS] = {
      [TOK_MESSAGE_ENCRYPT] = TOK_ENCRYPT,
      [TOK_MESSAGE_DECRYPT] = TOK_DECRYPT,
      [TOK_MESSAGE_SIGN] = TOK_SIGN,
      [TOK_MESSAGE_VERIFY] = TOK_VERIFY,
  };
  struct tok_op *op = tok_alloc(sizeof *op);
  if (op == NULL) return CKR_HOST_MEMORY;
  op->mech = messages->mech;
  op->kind = kinds[messages->kind];
  op->message = true;
  op->key = messages->key;
  tok_object_ref(op->key);
  CK_RV rv = start(op, mechanism);
  if (rv == CKR_OK)
    *message = op;
  else
    tok_op_free(op);
  return rv;
}

void tok_op_free(struct tok_op *op)
{
  if (op == NULL) return;
  ERR_set_mark();
  if (op->type != NULL && op->type->free != NULL) op->type->free(op);
  ERR_pop_to_mark();
  tok_messages_free(op->messages);
  tok_wipe_free(op->held, op->held_room);
  tok_wipe_free(op->signature, op->signature_len);
  tok_object_unref(op->key);
  tok_wipe_free(op, sizeof *op);
}

CK_RV tok_op_run(const struct tok_mech *mech, enum tok_op_kind kind, CK_MECHANISM_PTR mechanism, struct tok_object *key,
                 const CK_BYTE *in, CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len)
{
  static CK_BYTE nothing;
  struct tok_op op = {.mech = mech, .kind = kind, .key = key};
  CK_BYTE *result = NULL;
  CK_ULONG bound = 0, size = 0;
  bool exact = true;
  CK_RV rv = start(&op, mechanism);
  if (rv != CKR_OK) goto out;
  rv = op.type->room(&op, TOK_STEP_SINGLE, len, &bound, &exact);
  if (rv != CKR_OK) goto out;
  result = tok_alloc(bound + 1);
  if (result == NULL) {
    rv = CKR_HOST_MEMORY;
    goto out;
  }
  size = bound;
  rv = run(&op, TOK_STEP_SINGLE, in != NULL ? in : &nothing, len, result, &size);
  if (rv != CKR_OK) goto out;
  /* The caller wipes what it was told of; padding may lie behind. */
  OPENSSL_cleanse(result + size, bound - size);
  *out = result;
  *out_len = size;
  result = NULL;
out:
  tok_wipe_free(result, bound + 1);
  if (op.type != NULL && op.type->free != NULL) op.type->free(&op);
  return rv;
}
