/* A report of the login state that cannot be: which rules have an explanation, and the calls that they need as evidence.
 *
 * Several rules see one loss (or appearance) of a login, each with conditions on what happened before. They are decided here
 * at one place, for each report once; the rules say what it means. The order in which they speak is that of
 * precedence.def. */
#ifndef CHECK_SUSPECTS_H
#define CHECK_SUSPECTS_H

#include "decoder/model/model.h"

enum {
  SUSPECT_LOGIN_01 = 1,
  SUSPECT_LOGIN_02 = 2,
  SUSPECT_LOGIN_04 = 4,
  SUSPECT_LOGIN_05 = 8,
  SUSPECT_LOGIN_09 = 16,
  SUSPECT_LOGIN_17 = 32,
  SUSPECT_PIN_04 = 64,
  SUSPECT_SESS_07 = 128,
  SUSPECT_SESS_08 = 256,
  SUSPECT_ANSWER = 512 /* a success where nothing was to be done: NSS-LOGIN-08, NSS-LOGIN-11 */
};

struct suspects {
  unsigned rules;                /* set of SUSPECT_* */
  struct model_observation seen; /* the report that cannot be; not always the one at hand */
  bool back_and_forth;           /* it contradicts another session, and was contradicted by it before */
  bool late;                     /* found by the end or the next login only: nothing was reported since */
  /* Empty: there was none. All are from before the report. */
  struct note login, logout, all, closed, pin; /* the last of each; `all`: the last session was closed */
  struct note gone;                            /* the token was removed */
  struct note user, public;                    /* last reports; of any session */
  struct note used;                            /* a private key did something */
  struct note benign;                          /* a call that only asks, and the only one since `user` */
  struct note refused;                         /* CKR_USER_NOT_LOGGED_IN of a private key since */
  struct note other, other_before;             /* two reports of another session: just before, and before that */
  struct note begun;                           /* C_OpenSession of the session that reports */
  struct note elsewhere;                       /* C_Login or C_Logout on another slot */
  struct model_slot *elsewhere_slot;
};

/* The report `seen` of the slot, which is in what it reports the latest; NULL when nobody has to say anything. */
const struct suspects *suspects_of(struct model_slot *slot, const struct model_observation *seen);
/* Runs `report` where the rule SUSPECT_... has something to say: on the report at hand (check->why); or, at a call that
 * changes the login and at the end, on one that waited for the next report, which did not come. check->place.slot is the
 * slot that it is about. */
struct check;
void suspects_run(struct check *check, unsigned rule, void (*report)(struct check *check, const struct suspects *why));
/* Takes note of a call that is over, before the model takes it in. */
void suspects_call(const struct call *call, const struct model_place *place);
/* The computer slept. */
void suspects_sleep(struct model_module *module, uint64_t time);

#endif
