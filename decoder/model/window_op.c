/* What single calls need and do. */
#include "decoder/model/window.h"

static bool observation(const struct call *call, struct window_op *op)
{
  const struct value *state = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state));
  if (call->rv != CKR_OK || !state) return false;
  op->watches = true;
  op->need = op->eased = (uint8_t)model_state_class(state->number);
  return op->need != 0;
}

/* The standard, C_Login: CKR_USER_ALREADY_LOGGED_IN and CKR_USER_ANOTHER_ALREADY_LOGGED_IN say who is logged in. Some modules
 * succeed instead; that is NSS-LOGIN-08's, and no reason to doubt what the others see. */
static bool login(const struct call *call, struct window_op *op)
{
  uint64_t user = CKU_USER;
  pick_in(call, 1, &user);
  const uint8_t as = user == CKU_SO ? LOGIN_SO : LOGIN_USER;
  if (user == CKU_CONTEXT_SPECIFIC) {
    op->after = LOGIN_PUBLIC; /* a PIN that becomes locked logs out */
    return call_returned(call, CKR_PIN_LOCKED);
  }
  if (op->either) {
    op->after = as;
    return true;
  }
  switch (call->rv) {
    case CKR_OK:
      op->need = LOGIN_PUBLIC;
      op->after = as;
      return true;
    case CKR_USER_ALREADY_LOGGED_IN: op->need = op->eased = op->after = as; return true;
    case CKR_USER_ANOTHER_ALREADY_LOGGED_IN: op->need = as == LOGIN_SO ? LOGIN_USER : LOGIN_SO; return true;
    default: return false;
  }
}

static bool logout(const struct call *call, struct window_op *op)
{
  op->after = LOGIN_PUBLIC;
  if (op->either) return true;
  if (call->rv == CKR_OK)
    op->need = LOGIN_USER | LOGIN_SO;
  else
    op->need = op->eased = LOGIN_PUBLIC;
  return call->rv == CKR_OK || call->rv == CKR_USER_NOT_LOGGED_IN;
}

static bool closes(const struct call *call, struct window_op *op, enum window_effect effect)
{
  if (!op->either && call->rv != CKR_OK) return false;
  op->effect = (uint8_t)effect;
  return true;
}

bool window_op(const struct call *call, struct window_op *op)
{
  *op = (struct window_op){.enter = call->number,
                           .leave = call->end_number ? call->end_number : UINT64_MAX,
                           .need = LOGIN_ANY,
                           .eased = LOGIN_ANY,
                           .handle = -1,
                           .either = call->state != CALL_DONE};
  const int i = pick_kind(call, P11_K_SESSION);
  if (i >= 0) pick_in(call, (unsigned)i, &op->session);
  switch (call->known) {
    case P11_F_C_GetSessionInfo: return !op->either && observation(call, op);
    case P11_F_C_Login:
    case P11_F_C_LoginUser: return login(call, op);
    case P11_F_C_Logout: return logout(call, op);
    case P11_F_C_CloseSession: return closes(call, op, EFFECT_CLOSE);
    case P11_F_C_InitToken:
    case P11_F_C_CloseAllSessions: return closes(call, op, EFFECT_ALL);
    case P11_F_C_OpenSession:
      op->effect = EFFECT_OPEN;
      return call_returned(call, CKR_OK) && pick_out(call, 4, &op->session) && op->session;
    default: return false;
  }
}
