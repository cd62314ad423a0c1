/* The probes. Each asks through the functions of the set that opened the session, with memory of its own. */
#include <string.h>

#include "shim/load/sets.h"
#include "shim/record/call.h"
#include "shim/record/operations.h"
#include "shim/record/options.h"
#include "shim/record/probe.h"
#include "shim/record/process.h"
#include "shim/record/sessions.h"
#include "shim/record/sys.h"

#define OTHERS 8 /* sessions that are asked after one call */

/* What a frame below that of a probe calls is the probe's doing too: a module behind a proxy, a callback. */
static bool is_within(const void *frame)
{
  const void *within = p11t_self != NULL ? p11t_self->within : NULL;
  return within != NULL && (uintptr_t)frame < (uintptr_t)within;
}

/* A thread that could make a record has a slot; after the end of recording, or a fork, it may have none. */
static void set_within(const void *frame)
{
  if (p11t_self != NULL) p11t_self->within = frame;
}

/* One call of ours to the function F of the session's set, which has the type TYPE. */
#define ASK(session, F, ...)                                                                                   \
  do {                                                                                                         \
    const struct p11t_set *set = &p11t_sets[(session)->set % P11T_SETS];                                       \
    CK_##F real = (CK_##F)set->target[P11_F_##F];                                                              \
    struct p11t_call call;                                                                                     \
    void *frame = __builtin_frame_address(0);                                                                  \
    if (real == NULL || set->module == 0 || !p11t_probe_enter(&call, P11_F_##F, set->module, v, frame)) break; \
    set_within(frame);                                                                                         \
    CK_RV rv = real(__VA_ARGS__);                                                                              \
    set_within(NULL);                                                                                          \
    p11t_probe_leave(&call, v, rv);                                                                            \
  } while (0)

static __attribute__((noinline)) void ask_state(const struct p11t_session *session)
{
  CK_SESSION_INFO info = {0};
  const uint64_t v[] = {session->handle, (uintptr_t)&info};
  if (!p11t_session_take(session, 0)) return;
  ASK(session, C_GetSessionInfo, session->handle, &info);
  p11t_session_give(session);
}

static __attribute__((noinline)) void ask_next(const struct p11t_session *session)
{
  CK_OBJECT_HANDLE object = 0;
  CK_ULONG count = 0;
  const uint64_t v[] = {session->handle, (uintptr_t)&object, 1, (uintptr_t)&count};
  if (!p11t_session_take(session, CKF_FIND_OBJECTS)) return;
  ASK(session, C_FindObjects, session->handle, &object, 1, &count);
  p11t_session_give(session);
}

/* False: the session cannot be asked now. */
static __attribute__((noinline)) bool ask_class(const struct p11t_session *session, CK_OBJECT_HANDLE object)
{
  CK_OBJECT_CLASS class = 0;
  CK_ATTRIBUTE wanted = {CKA_CLASS, &class, sizeof class};
  const uint64_t v[] = {session->handle, object, (uintptr_t)&wanted, 1};
  if (!p11t_session_take(session, 0)) return false;
  ASK(session, C_GetAttributeValue, session->handle, object, &wanted, 1);
  p11t_session_give(session);
  return true;
}

static void ask_others(uint16_t slot, const struct p11t_session *except)
{
  struct p11t_session other[OTHERS];
  unsigned n = p11t_sessions_of(slot, except, other, OTHERS);
  for (unsigned i = 0; i < n; i++) ask_state(&other[i]);
}

/* Each object that the call made, through the first other session that is at rest. */
static void ask_objects(const struct p11t_call *call, const uint64_t *v, const struct p11t_left *left)
{
  const struct p11_function_info *f = &p11_functions[call->function];
  for (unsigned i = 0; i < f->arity; i++) {
    if (f->param[i].kind != P11_K_OUT_OBJECT || v[i] == 0 || !sys_readable((const void *)v[i])) continue;
    CK_OBJECT_HANDLE object = *(const CK_OBJECT_HANDLE *)v[i];
    struct p11t_session other[OTHERS];
    unsigned n = object != CK_INVALID_HANDLE ? p11t_sessions_of(left->slot, &left->session, other, OTHERS) : 0;
    for (unsigned k = 0; k < n && !ask_class(&other[k], object);) k++;
  }
}

void p11t_probe_before(struct p11t_call *call, const uint64_t *v, void *frame)
{
  int saved = errno;
  struct p11t_session session;
  bool inside = is_within(frame);
  if (inside)
    call->watch.flags = P11T_PROBE;
  else if (call->function == P11_F_C_FindObjectsFinal && p11t_options.probe & P11T_PROBE_FIND &&
           p11t_session_short(call->module, v[0], &session))
    ask_next(&session);
  p11t_sessions_enter(call, v, inside);
  errno = saved;
}

void p11t_probe_after(const struct p11t_call *call, const uint64_t *v, CK_RV rv)
{
  int saved = errno;
  unsigned probe = call->watch.flags & P11T_PROBE ? 0 : p11t_options.probe, f = call->function;
  struct p11t_left left;
  p11t_sessions_leave(call, v, rv, &left);
  if (probe != 0 && left.slot != UINT16_MAX) {
    if ((f == P11_F_C_Login || f == P11_F_C_LoginUser || f == P11_F_C_Logout) && probe & P11T_PROBE_STATE)
      ask_others(left.slot, &left.session);
    else if (f == P11_F_C_GetSlotInfo && left.moved && probe & P11T_PROBE_REMOVAL)
      ask_others(left.slot, &left.session);
    else if (f == P11_F_C_OpenSession && probe & P11T_PROBE_OPEN)
      ask_state(&left.session);
    else if (p11_functions[f].class == P11_CLASS_OBJECT && rv == CKR_OK && probe & P11T_PROBE_OBJECT)
      ask_objects(call, v, &left);
  }
  errno = saved;
}
