/* What is at work in each session, from the answers of the functions that begin, continue and end it. Whatever an
 * answer leaves open makes the state OP_UNKNOWN: rules say nothing then. */
#include "decoder/model/operation.h"

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
  [P11_F_C_EncryptMessage] = {OP_MESSAGE_ENCRYPT, STEP_MESSAGE},
  [P11_F_C_EncryptMessageBegin] = {OP_MESSAGE_ENCRYPT, STEP_BEGIN},
  [P11_F_C_EncryptMessageNext] = {OP_MESSAGE_ENCRYPT, STEP_NEXT},
  [P11_F_C_MessageEncryptFinal] = {OP_MESSAGE_ENCRYPT, STEP_FINAL},
  [P11_F_C_MessageDecryptInit] = {OP_MESSAGE_DECRYPT, STEP_INIT},
  [P11_F_C_DecryptMessage] = {OP_MESSAGE_DECRYPT, STEP_MESSAGE},
  [P11_F_C_DecryptMessageBegin] = {OP_MESSAGE_DECRYPT, STEP_BEGIN},
  [P11_F_C_DecryptMessageNext] = {OP_MESSAGE_DECRYPT, STEP_NEXT},
  [P11_F_C_MessageDecryptFinal] = {OP_MESSAGE_DECRYPT, STEP_FINAL},
  [P11_F_C_MessageSignInit] = {OP_MESSAGE_SIGN, STEP_INIT},
  [P11_F_C_SignMessage] = {OP_MESSAGE_SIGN, STEP_MESSAGE},
  [P11_F_C_SignMessageBegin] = {OP_MESSAGE_SIGN, STEP_BEGIN},
  [P11_F_C_SignMessageNext] = {OP_MESSAGE_SIGN, STEP_NEXT},
  [P11_F_C_MessageSignFinal] = {OP_MESSAGE_SIGN, STEP_FINAL},
  [P11_F_C_MessageVerifyInit] = {OP_MESSAGE_VERIFY, STEP_INIT},
  [P11_F_C_VerifyMessage] = {OP_MESSAGE_VERIFY, STEP_MESSAGE},
  [P11_F_C_VerifyMessageBegin] = {OP_MESSAGE_VERIFY, STEP_BEGIN},
  [P11_F_C_VerifyMessageNext] = {OP_MESSAGE_VERIFY, STEP_NEXT},
  [P11_F_C_MessageVerifyFinal] = {OP_MESSAGE_VERIFY, STEP_FINAL},
};

/* What C_SessionCancel calls them; VERIFY_SIGNATURE has no flag of its own. */
static const struct {
  const char *name;
  uint64_t flag;
} kind[OP_KINDS] = {
  [OP_FIND] = {"search", CKF_FIND_OBJECTS},
  [OP_ENCRYPT] = {"encryption", CKF_ENCRYPT},
  [OP_DECRYPT] = {"decryption", CKF_DECRYPT},
  [OP_DIGEST] = {"digest", CKF_DIGEST},
  [OP_SIGN] = {"signature", CKF_SIGN},
  [OP_SIGN_RECOVER] = {"signature with recovery", CKF_SIGN_RECOVER},
  [OP_VERIFY] = {"verification", CKF_VERIFY},
  [OP_VERIFY_RECOVER] = {"verification with recovery", CKF_VERIFY_RECOVER},
  [OP_VERIFY_SIGNATURE] = {"verification of a given signature", 0},
  [OP_MESSAGE_ENCRYPT] = {"encryption of messages", CKF_MESSAGE_ENCRYPT},
  [OP_MESSAGE_DECRYPT] = {"decryption of messages", CKF_MESSAGE_DECRYPT},
  [OP_MESSAGE_SIGN] = {"signature of messages", CKF_MESSAGE_SIGN},
  [OP_MESSAGE_VERIFY] = {"verification of messages", CKF_MESSAGE_VERIFY},
};
/* clang-format on */

int model_op_of(int function)
{
  return function >= 0 && function < P11_FUNCTIONS && table[function].step ? table[function].op : -1;
}

enum model_step model_step_of(int function)
{
  return function >= 0 && function < P11_FUNCTIONS ? (enum model_step)table[function].step : STEP_NO;
}

const char *model_op_name(enum model_op op)
{
  return kind[op].name;
}

static bool is_dual(int function, int op[2])
{
  switch (function) {
    case P11_F_C_DigestEncryptUpdate: op[0] = OP_ENCRYPT, op[1] = OP_DIGEST; return true;
    case P11_F_C_DecryptDigestUpdate: op[0] = OP_DECRYPT, op[1] = OP_DIGEST; return true;
    case P11_F_C_SignEncryptUpdate: op[0] = OP_ENCRYPT, op[1] = OP_SIGN; return true;
    case P11_F_C_DecryptVerifyUpdate: op[0] = OP_DECRYPT, op[1] = OP_VERIFY; return true;
    default: return false;
  }
}

unsigned model_ops_of(int function, int op[2])
{
  op[0] = model_op_of(function);
  if (op[0] >= 0) return 1;
  return is_dual(function, op) ? 2 : 0;
}

bool model_begins(const struct call *call)
{
  if (model_step_of(call->known) != STEP_INIT) return false;
  const int mechanism = pick_kind(call, P11_K_MECHANISM);
  return mechanism < 0 || !pick_is_null(call, (unsigned)mechanism);
}

bool model_asks_length(const struct call *call)
{
  const int out = pick_kind(call, P11_K_OUT_BYTES);
  return out >= 0 && pick_is_null(call, (unsigned)out);
}

bool model_alone(const struct model_session *session, const struct call *call)
{
  return !session->in_flight && session->busy_end < call->number && session->opened.end_number < call->number &&
         model_settled(session->slot, call);
}

bool model_idle(const struct model_session *session)
{
  for (int i = 0; i < OP_KINDS; i++)
    if (session->op[i].state != OP_NONE) return false;
  return true;
}

/* --- changes ----------------------------------------------------------------------------------- */

/* What begun and last say stays: rules name what ended the operation. */
static void end(struct model_operation *op, enum model_op_state state)
{
  op->state = (uint8_t)state;
  op->context = false;
  op->login = (struct note){0};
}

/* It is not certain any more that it is at work. What is certainly not stays so. */
static void doubt(struct model_operation *op)
{
  if (op->state != OP_NONE) op->state = OP_UNKNOWN;
}

static void doubt_all(struct model_session *s)
{
  for (int i = 0; i < OP_KINDS; i++) doubt(&s->op[i]);
}

static void forget_all(struct model_session *s)
{
  for (int i = 0; i < OP_KINDS; i++) s->op[i].state = OP_UNKNOWN;
}

static uint64_t later(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* C_Login: "If there are any active cryptographic or object finding operations in an application's session, and then
 * C_Login is successfully executed by that application, it may or may not be the case that those operations are
 * still active"; the same of C_Logout. */
void model_refresh_operations(struct model_session *s)
{
  const struct model_slot *slot = s->slot;
  const uint64_t last =
      later(later(slot->last.login.rv == CKR_OK ? slot->last.login.end_number : 0, slot->last.so.end_number),
            slot->last.logout.end_number);
  if (last <= s->login_seen) return;
  s->login_seen = last;
  if (last > s->opened.number) doubt_all(s);
}

/* Answers of functions that may not have looked at the operation at all. */
static bool leaves_open(uint64_t rv)
{
  switch (rv) {
    case CKR_ARGUMENTS_BAD:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_REMOVED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_OPERATION_ACTIVE:
    case CKR_PENDING:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_TOKEN_NOT_PRESENT: return true;
    default: return false;
  }
}

static void begin(const struct call *call, struct model_place *place, struct model_operation *op)
{
  const int mechanism = pick_kind(call, P11_K_MECHANISM);
  int key = pick_kind(call, P11_K_KEY);
  /* A NULL mechanism is there "to terminate an active signature operation"; what cannot be cancelled is
   * CKR_OPERATION_CANCEL_FAILED. Modules older than 3.0 do not know that, and what they do is anybody's guess. */
  if (!model_begins(call)) {
    if (call->rv == CKR_OK || call->rv == CKR_OPERATION_NOT_INITIALIZED)
      end(op, OP_NONE);
    else if (call->rv != CKR_OPERATION_CANCEL_FAILED && call->rv != CKR_OPERATION_ACTIVE)
      doubt(op);
    return;
  }
  if (call->rv == CKR_OPERATION_ACTIVE) {
    /* Something is at work although nothing should: which, the next calls will tell. */
    if (model_idle(place->session)) op->state = OP_UNKNOWN;
    return;
  }
  if (call->rv == CKR_PENDING) op->state = OP_UNKNOWN;
  if (call->rv != CKR_OK) {
    doubt(op); /* what was at work may go on, or not */
    return;
  }
  *op = (struct model_operation){.state = OP_INIT, .mechanism = CK_UNAVAILABLE_INFORMATION};
  if (mechanism >= 0 && call->arg[mechanism].in.what == VALUE_MECHANISM) op->mechanism = call->arg[mechanism].in.number;
  if (key < 0) key = pick_kind(call, P11_K_OBJECT);
  if (key >= 0) pick_in(call, (unsigned)key, &op->key);
  model_note(place, &op->begun, call);
}

/* "CKR_BUFFER_TOO_SMALL [...] or is a successful call (i.e., one which returns CKR_OK) to determine the length of
 * the buffer": the operation goes on. Without an output there is nothing that could be too small. */
static bool goes_on(const struct call *call)
{
  if (call->rv == CKR_OK) return model_asks_length(call);
  return call->rv == CKR_BUFFER_TOO_SMALL && pick_kind(call, P11_K_OUT_BYTES) >= 0;
}

/* C_EncryptFinal(NULL) of a mechanism that has nothing more to give: a query for some modules, the end for others. */
static bool may_be_the_end(const struct call *call)
{
  uint64_t length;
  const int out = pick_kind(call, P11_K_OUT_LENGTH);
  return call->rv == CKR_OK && (out < 0 || !pick_out(call, (unsigned)out, &length) || !length);
}

/* Messages: an error ends the message, not the operation (C_EncryptMessageNext: "terminates the current message
 * encryption operation"). */
static void message(const struct call *call, struct model_operation *op, enum model_step step)
{
  if (goes_on(call)) return;
  if (call->rv == CKR_OK && op->state != OP_UNKNOWN) op->state = step == STEP_MESSAGE ? OP_INIT : OP_UPDATING;
  if (call->rv != CKR_OPERATION_NOT_INITIALIZED) return;
  if (step == STEP_NEXT)
    doubt(op); /* perhaps only the message was not begun */
  else
    end(op, OP_NONE);
}

static void go_on(const struct call *call, struct model_operation *op, enum model_step step)
{
  if (goes_on(call)) {
    if (step == STEP_FINAL && may_be_the_end(call)) doubt(op);
    return;
  }
  if (step >= STEP_MESSAGE) {
    message(call, op, step);
    return;
  }
  /* "C_Sign cannot be used to terminate a multi-part operation": what an error to that leaves is open. */
  const bool mixed = step == STEP_WHOLE && op->state == OP_UPDATING;
  if (call->rv == CKR_OPERATION_NOT_INITIALIZED && !mixed) {
    end(op, OP_NONE);
  } else if (call->rv == CKR_OK && step == STEP_UPDATE) {
    op->state = OP_UPDATING;
  } else if (call->rv == CKR_OK) {
    end(op, OP_NONE);
  } else if (mixed || leaves_open(call->rv) || call->known == P11_F_C_DigestKey ||
             (step == STEP_FINAL && table[call->known].op >= OP_MESSAGE_ENCRYPT)) {
    doubt(op);
  } else if (call->known != P11_F_C_FindObjects) { /* an error of a search leaves it to C_FindObjectsFinal */
    end(op, OP_NONE);
  }
}

/* Of the operations of a dual function one may have ended by an error, or both. */
static void dual(const struct call *call, struct model_place *place, const int op[2])
{
  for (int i = 0; i < 2; i++) {
    struct model_operation *o = &place->session->op[op[i]];
    if (goes_on(call)) continue;
    if (call->rv == CKR_OK)
      o->state = OP_UPDATING;
    else
      doubt(o);
    model_note(place, &o->last, call);
  }
}

static void context_login(const struct call *call, struct model_place *place)
{
  uint64_t user;
  if (!pick_in(call, 1, &user) || user != CKU_CONTEXT_SPECIFIC) return;
  if (call->rv == CKR_PIN_LOCKED) doubt_all(place->session); /* logs the user out */
  if (call->rv != CKR_OK) return;
  for (int i = 0; i < OP_KINDS; i++) {
    struct model_operation *op = &place->session->op[i];
    if ((op->state != OP_INIT && op->state != OP_UPDATING) || i == OP_FIND || i == OP_DIGEST) continue;
    op->context = true;
    model_note(place, &op->login, call);
  }
}

/* "If a flag is set for an operation that has not been initialized in the session, the operation flag will be
 * ignored"; of several flags CKR_OPERATION_CANCEL_FAILED does not tell which. */
static void cancel(const struct call *call, struct model_session *s)
{
  uint64_t flags;
  if (call->rv == CKR_FUNCTION_NOT_SUPPORTED) return;
  if (!pick_in(call, 1, &flags)) flags = UINT64_MAX;
  for (int i = 0; i < OP_KINDS; i++) {
    const uint64_t flag = i == OP_VERIFY_SIGNATURE ? CKF_VERIFY : kind[i].flag;
    if (!(flags & flag)) continue;
    if (call->rv == CKR_OK && i != OP_VERIFY_SIGNATURE && flags != UINT64_MAX)
      end(&s->op[i], OP_NONE);
    else
      doubt(&s->op[i]);
  }
}

/* Calls that overlap, and those of which the answer is not known, may have come before or after any other. */
static void uncertain(const struct call *call, struct model_session *s)
{
  int op[2];
  const unsigned count = model_ops_of(call->known, op);
  for (unsigned i = 0; i < count; i++) s->op[op[i]] = (struct model_operation){.state = OP_UNKNOWN};
  if (call->known == P11_F_C_SetOperationState) forget_all(s);
  if (call->known == P11_F_C_SessionCancel || call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser)
    doubt_all(s);
}

void model_apply_operation(const struct call *call, struct model_place *place)
{
  struct model_session *s = place->session;
  int pair[2];
  if (!s || call->known < 0) return;
  const enum model_step step = model_step_of(call->known);
  if (call->state != CALL_DONE || ((step || is_dual(call->known, pair)) && !model_alone(s, call))) {
    uncertain(call, s);
    return;
  }
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser: context_login(call, place); return;
    case P11_F_C_SessionCancel: cancel(call, s); return;
    /* "the ongoing operations are abruptly cancelled"; what was restored is in the blob. */
    case P11_F_C_SetOperationState:
      if (call->rv == CKR_OK)
        forget_all(s);
      else if (!leaves_open(call->rv))
        doubt_all(s);
      return;
    default: break;
  }
  if (is_dual(call->known, pair)) {
    dual(call, place, pair);
    return;
  }
  if (!step) return;
  struct model_operation *op = &s->op[table[call->known].op];
  const uint8_t before = op->state;
  if (step == STEP_INIT)
    begin(call, place, op);
  else
    go_on(call, op, step);
  if (before != OP_NONE || op->state != OP_NONE) model_note(place, &op->last, call);
}
