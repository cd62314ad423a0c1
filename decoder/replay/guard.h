/* What a replay does not do to a card, and when it stops.
 *
 * A card counts wrong PINs and cannot be repaired. Without --destructive nothing is made that changes its PINs, clears it,
 * or changes objects that the replay did not make itself; and never a login whose PIN is not believed to be the right one. */
#ifndef REPLAY_GUARD_H
#define REPLAY_GUARD_H

#include "decoder/replay/live.h"

struct guard;

/* To be called before the processes that replay are made: a PIN that one of them saw refused is not tried by another. */
void guard_share(void);

struct guard *guard_new(void);
void guard_free(struct guard *guard);

/* Each call of the trace, before any is made: which PINs were good. */
void guard_foresee(struct guard *guard, const struct call *call);

/* Why the call is not made; NULL: it may be. Static text. Under player->lock. */
const char *guard_withholds(struct guard *guard, struct player *player, const struct call *call);

/* Has the call a PIN? Then guard_enter and guard_leave go around it, so that no other such call is between them. */
bool guard_concerns(const struct call *call);
/* Waits for its turn. Then: in words, in `text`, why the replay must stop; NULL: it need not. Without player->lock. */
const char *guard_enter(struct player *player, const struct call *call, char *text, size_t size);
/* The PIN was refused, and must not be tried again: the same in words; NULL: it was not. */
const char *guard_refused(const struct live *live, char *text, size_t size);
/* `live` NULL: the call was not made after all. Without player->lock. */
void guard_leave(struct guard *guard, struct player *player, const struct live *live);

/* C_Login of our own, with the user's PIN: CKR_PIN_INCORRECT without trying where it was refused before. */
CK_RV guard_login(const CK_FUNCTION_LIST_3_2 *functions, CK_SESSION_HANDLE session, const struct replay_pin *pin);

#endif
