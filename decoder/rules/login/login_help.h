/* What the rules about logins share. */
#ifndef LOGIN_HELP_H
#define LOGIN_HELP_H

#include "decoder/model/operation.h"
#include "decoder/model/search.h"
#include "decoder/rules/rules.h"

#define SECOND 1000000000ull

static inline bool login_is(const struct call *call, uint64_t wanted)
{
  uint64_t user;
  return (call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser) && pick_in(call, 1, &user) &&
         user == wanted;
}

/* The state that C_GetSessionInfo reports: one of LOGIN_*, 0 when it does not. */
static inline unsigned login_reported(const struct call *call)
{
  const struct value *v = pick_member(call, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state));
  return call->rv == CKR_OK && v ? model_state_class(v->number) : 0;
}

/* What a PIN was: tag 0 when the trace does not say, so that it cannot be compared. */
struct login_pin {
  uint64_t tag, length;
};

static inline struct login_pin login_pin(const struct call *call, unsigned index)
{
  const struct value *v = &call->arg[index].in;
  struct login_pin pin = {0, 0};
  if (value_is_tagged(v)) pin.tag = v->number;
  pick_in(call, index + 1, &pin.length);
  return pin;
}

/* Equal by their tags, which are of the process. */
static inline bool login_same_pin(struct login_pin a, struct login_pin b)
{
  return a.tag && a.tag == b.tag && a.length == b.length;
}

/* Known to be different: both were recorded. */
static inline bool login_other_pin(struct login_pin a, struct login_pin b)
{
  return a.length != b.length || (a.tag && b.tag && a.tag != b.tag);
}

/* Codes of a session, token or library that is not there: they go before whatever a login would be answered. */
static inline bool login_lost(uint64_t rv)
{
  switch (rv) {
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_DEVICE_REMOVED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_HOST_MEMORY:
    case CKR_FUNCTION_CANCELED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_PENDING: return true;
    default: return false;
  }
}

#endif
