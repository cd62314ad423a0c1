/* A call that was not made, or that came out otherwise, has followers that cannot come out as recorded. They are named with
 * it instead of being counted as differences of their own. */
#ifndef REPLAY_LOST_H
#define REPLAY_LOST_H

#include "decoder/replay/live.h"

/* Why the call cannot be made; NULL: nothing is in its way. `text` has room for the words. Under player->lock. */
const char *lost_reason(struct player *player, const struct call *call, char *text, size_t size);
/* The call came out otherwise, with `rv`: why that says nothing; NULL when it does. After live_compare, before live_learn. */
const char *lost_excuse(struct player *player, const struct call *call, uint64_t rv, char *text, size_t size);
/* The call is over, or (`made` false) was not made. Before live_learn or maps_lost. */
void lost_note(struct player *player, const struct call *call, bool made, uint64_t rv);

#endif
