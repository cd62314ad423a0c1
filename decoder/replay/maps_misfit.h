/* Objects that a search of today hands out though they are not what was asked for. */
#ifndef REPLAY_MAPS_MISFIT_H
#define REPLAY_MAPS_MISFIT_H

#include "decoder/replay/live.h"

struct maps_asked;

/* C_FindObjectsInit was made, and went as recorded: its template as it was given today. */
void maps_misfit_asked(struct player *player, struct live *live);
void maps_misfit_free(struct maps_asked *asked);

/* After maps_pair_found: did an object come with this call that is none of the recorded ones, and whose attribute *type says
 * that it was not asked for? */
bool maps_misfit(struct player *player, const struct call *call, uint64_t *type);

#endif
