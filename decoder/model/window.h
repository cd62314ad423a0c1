/* Internal to window*.c: calls of one slot that overlap, and the orders in which they may have taken effect.
 *
 * A call takes effect at one moment between its ENTER and its LEAVE. A window collects calls that change the login, the
 * sessions or only tell the state, until all that overlap are over; then window_solve() goes through the orders. */
#ifndef MODEL_WINDOW_H
#define MODEL_WINDOW_H

#include "decoder/model/model.h"

#define WINDOW_OPS 64     /* bits of struct config.done in window_solve.c */
#define WINDOW_HANDLES 32 /* bits of .open */

enum window_effect { EFFECT_NONE, EFFECT_OPEN, EFFECT_CLOSE, EFFECT_ALL };

/* One call that is over. */
struct window_op {
  uint64_t enter, leave;
  uint64_t session; /* handle; 0 none */
  uint8_t need;     /* set of LOGIN_* of which one must be at that moment for the answer to be right */
  uint8_t eased;    /* the same for a module that succeeds where the standard has a code of its own */
  uint8_t after;    /* LOGIN_* afterwards, 0: as before */
  uint8_t effect;
  int8_t handle; /* in struct window; -1: not known */
  bool watches;  /* C_GetSessionInfo */
  bool either;   /* never returned: took effect or not */
  bool last;     /* a close that may be that of the last session */
  bool odd;      /* no order explains the answer */
  uint8_t possible;
  struct model_observation seen;
};

/* Calls in the order of their LEAVEs. */
struct window {
  unsigned ops, handles;
  uint64_t handle[WINDOW_HANDLES];
  uint32_t open; /* which of these are open before the first of the calls */
  unsigned rest; /* how many other sessions are */
  uint8_t start; /* set of LOGIN_* before */
  bool unsure;   /* there may be sessions that are not known */
  bool loose;    /* opens and closes were left out: no close is the last */
  bool all;      /* there is a call that closes all */
  struct window_op op[WINDOW_OPS];
};

/* What the calls left. */
struct window_end {
  uint8_t login;        /* set of LOGIN_* */
  uint32_t open, maybe; /* handles that are open in all orders; in some */
  bool rest, maybe_rest;
};

/* What a call that is over means; false when it has no bearing on login or sessions. `handle` of the op is left at -1. */
bool window_op(const struct call *call, struct window_op *op);
/* Fills in `odd` and `possible` of each call, and *end. False when there are too many orders. */
bool window_solve(struct window *window, struct window_end *end);

/* window_report.c: what rules will be told of a call. */
void window_describe(const struct call *call, const struct model_place *place, struct model_slot *slot,
                     const struct window_op *op, struct model_observation *seen);
void window_report(struct model_module *module, const struct model_observation *seen);

/* window_alone.c: calls that nothing overlaps. The sessions that a call leaves; the state that one reports, `blind` if
 * something may have changed it meanwhile; a call that may change it. */
void window_count(struct model_slot *slot, const struct window_op *op);
void window_look(const struct call *call, const struct model_place *place, struct model_slot *slot,
                 const struct window_op *op, bool blind);
void window_alone(const struct call *call, const struct model_place *place, struct model_slot *slot,
                  const struct window_op *op);

/* Sessions that were open when the token was removed are gone, whatever the application closes afterwards. */
bool window_lives(const struct model_slot *slot, const struct model_session *session);
/* There may be sessions that are not known. */
bool window_unsure(const struct model_slot *slot);

#endif
