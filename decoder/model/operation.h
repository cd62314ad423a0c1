/* What functions do with the operations of a session. The state of the operations is in model.h, struct
 * model_operation. */
#ifndef MODEL_OPERATION_H
#define MODEL_OPERATION_H

#include "decoder/model/model.h"

/* What a function does with its operation. */
enum model_step {
  STEP_NO,      /* nothing */
  STEP_INIT,    /* begins it, or cancels it when the mechanism is NULL */
  STEP_WHOLE,   /* all in a single part */
  STEP_UPDATE,  /* one part of many; C_FindObjects */
  STEP_FINAL,   /* ends it */
  STEP_MESSAGE, /* a message of its own: C_EncryptMessage; the operation goes on for the next */
  STEP_BEGIN,   /* begins a message of several parts */
  STEP_NEXT     /* a part of that */
};

/* Of functions with one operation (model_op_of); STEP_NO for the dual ones. */
enum model_step model_step_of(int function);
/* The operations that a function works on, at most two (C_DigestEncryptUpdate); how many. */
unsigned model_ops_of(int function, int op[2]);
/* Does the call begin an operation of its kind? Not when it cancels. */
bool model_begins(const struct call *call);
/* Does the call only ask how long its output will be? */
bool model_asks_length(const struct call *call);

/* No other call on the session overlaps this one, no login, logout or close does either, and the session is still
 * the one that the caller meant. Otherwise the answer may belong to any order of them. */
bool model_alone(const struct model_session *session, const struct call *call);
/* Is the operation begun and not over? */
static inline bool model_active(const struct model_operation *op)
{
  return op->state == OP_INIT || op->state == OP_UPDATING;
}
/* Is it certain that nothing is at work in the session? */
bool model_idle(const struct model_session *session);

/* "OPERATION": "search", "encryption" ... */
const char *model_op_name(enum model_op op);

#endif
