/* The functions that the module exports, made from functions.def. */
#define P11_PROTOTYPES
#pragma GCC visibility push(default)
#include "pkcs11.h"
#pragma GCC visibility pop

#include "core/arguments.h"
#include "core/entry.h"
#include "core/lifetime.h"
#include "core/presence.h"
#include "core/sessions.h"
#include "crypto/message.h"
#include "spec.h"

/* The operation that a function works on and that ends when the function fails, plus one; 0: none. Of an operation of messages
 * only the message ends, and only by a failure of C_...MessageNext (PKCS #11 3.2, 5.9.4 and the like). */
static const unsigned char works_on[P11_FUNCTIONS] = {
    [P11_F_C_Encrypt] = TOK_ENCRYPT + 1,
    [P11_F_C_EncryptUpdate] = TOK_ENCRYPT + 1,
    [P11_F_C_EncryptFinal] = TOK_ENCRYPT + 1,
    [P11_F_C_Decrypt] = TOK_DECRYPT + 1,
    [P11_F_C_DecryptUpdate] = TOK_DECRYPT + 1,
    [P11_F_C_DecryptFinal] = TOK_DECRYPT + 1,
    [P11_F_C_Digest] = TOK_DIGEST + 1,
    [P11_F_C_DigestUpdate] = TOK_DIGEST + 1,
    [P11_F_C_DigestKey] = TOK_DIGEST + 1,
    [P11_F_C_DigestFinal] = TOK_DIGEST + 1,
    [P11_F_C_Sign] = TOK_SIGN + 1,
    [P11_F_C_SignUpdate] = TOK_SIGN + 1,
    [P11_F_C_SignFinal] = TOK_SIGN + 1,
    [P11_F_C_SignRecover] = TOK_SIGN_RECOVER + 1,
    [P11_F_C_Verify] = TOK_VERIFY + 1,
    [P11_F_C_VerifyUpdate] = TOK_VERIFY + 1,
    [P11_F_C_VerifyFinal] = TOK_VERIFY + 1,
    [P11_F_C_VerifyRecover] = TOK_VERIFY_RECOVER + 1,
    [P11_F_C_VerifySignature] = TOK_VERIFY_SIGNATURE + 1,
    [P11_F_C_VerifySignatureUpdate] = TOK_VERIFY_SIGNATURE + 1,
    [P11_F_C_VerifySignatureFinal] = TOK_VERIFY_SIGNATURE + 1,
    [P11_F_C_EncryptMessageNext] = TOK_MESSAGE_ENCRYPT + 1,
    [P11_F_C_DecryptMessageNext] = TOK_MESSAGE_DECRYPT + 1,
    [P11_F_C_SignMessageNext] = TOK_MESSAGE_SIGN + 1,
    [P11_F_C_VerifyMessageNext] = TOK_MESSAGE_VERIFY + 1,
};

/* The function has failed. */
static void end_operation(struct tok_session *session, enum p11_function function)
{
  if (works_on[function] == 0) return;
  enum tok_op_kind kind = (enum tok_op_kind)(works_on[function] - 1);
  if (kind < TOK_MESSAGE_ENCRYPT)
    tok_session_end(session, kind);
  else if (session->op[kind] != NULL && session->op[kind]->updating)
    tok_messages_drop(session->op[kind]);
}

/* Works before C_Initialize. */
static bool needs_no_module(enum p11_function function)
{
  switch (function) {
    case P11_F_C_Initialize:
    case P11_F_C_Finalize:
    case P11_F_C_GetFunctionList:
    case P11_F_C_GetInterfaceList:
    case P11_F_C_GetInterface: return true;
    default: return false;
  }
}

/* Gets its session unlocked: it may close sessions, or visit all of them for a login. */
static bool locks_for_itself(const struct p11_function_info *f)
{
  return f->group == P11_GROUP_SESSION || f->group == P11_GROUP_TOKEN;
}

struct entry {
  enum p11_function function;
  struct tok_session *session; /* locked, or NULL */
};

/* What comes before tok_C_Xxx. If it fails, the entry must only return the code. */
static CK_RV begin(struct entry *e, const uintptr_t *a, bool exists)
{
  const struct p11_function_info *f = &p11_functions[e->function];
  bool free_for_all = needs_no_module(e->function);
  if (!free_for_all && !tok_enter()) return CKR_CRYPTOKI_NOT_INITIALIZED;
  CK_RV rv = exists ? CKR_OK : CKR_FUNCTION_NOT_SUPPORTED;
  if (rv == CKR_OK && f->param[0].kind == P11_K_SESSION) {
    e->session = tok_session_lock(a[0]);
    if (e->session == NULL) rv = CKR_SESSION_HANDLE_INVALID;
  }
  if (rv == CKR_OK) rv = tok_check_arguments(e->function, a);
  if (e->session != NULL && rv != CKR_OK) end_operation(e->session, e->function);
  if (e->session != NULL && (rv != CKR_OK || locks_for_itself(f))) {
    tok_session_unlock(e->session);
    e->session = NULL;
  }
  if (rv != CKR_OK && !free_for_all) tok_leave();
  return rv;
}

/* What comes after. */
static CK_RV end(struct entry *e, CK_RV rv)
{
  if (e->session != NULL && tok_session_lost(e->session)) {
    /* During the call (5.1.3, CKR_DEVICE_REMOVED), whatever came of it. */
    tok_session_lose(e->session);
    rv = CKR_DEVICE_REMOVED;
  } else if (e->session != NULL) {
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) end_operation(e->session, e->function);
    tok_session_unlock(e->session);
  }
  if (!needs_no_module(e->function)) tok_leave();
  return rv;
}

/* clang-format off */
#define PARAMETER(ctx, ctype, pname, kind) ctype pname
#define AS_NUMBER(ctx, ctype, pname, kind) (uintptr_t)(pname)
#define NAME(ctx, ctype, pname, kind) pname
#define F(name, since, group, class, ...)                                   \
  CK_RV name(P11_LIST(PARAMETER, 0, __VA_ARGS__))                           \
  {                                                                         \
    const uintptr_t a[] = {P11_LIST(AS_NUMBER, 0, __VA_ARGS__)};            \
    struct entry e = {P11_F_##name, NULL};                                  \
    CK_RV rv = begin(&e, a, tok_##name != NULL);                            \
    if (rv != CKR_OK) return rv;                                            \
    return end(&e, tok_##name(e.session, P11_LIST(NAME, 0, __VA_ARGS__)));  \
  }
#include "functions.def"
/* clang-format on */
