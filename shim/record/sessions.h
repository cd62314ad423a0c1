/* The application's sessions while probes are on: which there are, of which slot, and what is going on in them. A fixed table
 * under a lock of its own, which is never held across a call into the module. */
#ifndef RECORD_SESSIONS_H
#define RECORD_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/record/encode.h"

/* A session that can be named again later. */
struct p11t_session {
  uint64_t handle;
  uint32_t serial; /* 0: none */
  uint16_t place, set;
};

/* Before the module gets a call: notes what it is for. Waits, for a second at most, while a probe is where it must not meet
 * this call: on the same session, or anywhere in the slot when the call begins to use a key. */
void p11t_sessions_enter(struct p11t_call *call, const uint64_t *v, bool inside);

/* What the return of a call says. */
struct p11t_left {
  struct p11t_session session; /* the call's, or the one that it opened */
  uint16_t slot;               /* place of its slot; UINT16_MAX: not known */
  bool moved;                  /* C_GetSlotInfo: a token came or went */
};
void p11t_sessions_leave(const struct p11t_call *call, const uint64_t *v, CK_RV rv, struct p11t_left *left);

/* The module was unloaded. */
void p11t_sessions_forget(unsigned module);

/* Up to `room` sessions of a slot but `except`, read/write ones and others as far as there are both. */
unsigned p11t_sessions_of(uint16_t slot, const struct p11t_session *except, struct p11t_session *list, unsigned room);

/* A session whose search gave fewer objects than there was room for, when last asked: true. */
bool p11t_session_short(unsigned module, uint64_t handle, struct p11t_session *session);

/* Takes a session for a probe: false when it is gone, a call or an operation but `allowed` is under way in it, or a private
 * key is being used anywhere in its slot. It must be given back. */
bool p11t_session_take(const struct p11t_session *session, unsigned allowed);
void p11t_session_give(const struct p11t_session *session);

#endif
