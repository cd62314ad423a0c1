/* A login that the module answered without a look at the PIN ("the user is logged in already") is in the trace without it.
 * What the application gave was most likely what was good before: that PIN stands for it. */
#ifndef REPLAY_GOOD_PIN_H
#define REPLAY_GOOD_PIN_H

#include "decoder/replay/replay.h"

struct good_pins;
struct good_pins *good_pins_new(void);
void good_pins_free(struct good_pins *pins);

/* Each call of the trace, before any is made. */
void good_pin_foresee(struct player *player, const struct call *call);
/* A call that was answered CKR_OK, then and today. */
void good_pin_learn(struct player *player, const struct call *call);
/* The PIN, as it was recorded, of the login of that user to that token before this one, else of the first; NULL where the call
 * has a PIN of its own or must have none, or where there was no such login. */
const struct value *good_pin_for(struct player *player, const struct call *call);
/* Was the PIN of this login not recorded because the module did not read it? */
bool good_pin_is_unread(const struct call *call);
/* The module says that the PIN is not the one. */
bool good_pin_is_refusal(uint64_t rv);

#endif
