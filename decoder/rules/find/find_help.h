/* What the rules on searches share. */
#ifndef FIND_HELP_H
#define FIND_HELP_H

#include "decoder/model/operation.h"
#include "decoder/model/search.h"
#include "decoder/rules/rules.h"

/* Codes that are about the session, the token, the device or the login, not about the search. */
static inline bool find_other_matter(uint64_t rv)
{
  switch (rv) {
    case CKR_HOST_MEMORY:
    case CKR_ARGUMENTS_BAD:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_MEMORY:
    case CKR_DEVICE_REMOVED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_PENDING:
    case CKR_PIN_EXPIRED:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_OPERATION_NOT_VALIDATED:
    case CKR_CRYPTOKI_NOT_INITIALIZED: return true;
    default: return false;
  }
}

/* Is a search at work? What a C_FindObjects without C_FindObjectsInit answered is none. */
static inline bool find_is_active(const struct model_session *s)
{
  return model_active(&s->op[OP_FIND]) && s->op[OP_FIND].begun.number && s->found && s->found->active;
}

static inline bool find_is_over(const struct model_session *s)
{
  return s->op[OP_FIND].state == OP_NONE || (s->op[OP_FIND].state != OP_UNKNOWN && s->found && !s->found->active);
}

/* Has any search of the slot ended with CKR_OK and no handle? Else what fails is the end of every search. */
bool find_ends_well(const struct model_slot *slot);

#endif
