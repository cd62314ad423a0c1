/* What has to be known of a trace before its first call is made. */
#ifndef REPLAY_PREPASS_H
#define REPLAY_PREPASS_H

#include "decoder/replay/replay.h"

struct guard;

/* Reads the trace once: slots and their tokens into player->maps, tags of good PINs into `guard`, and, where it looks for
 * objects, what it knows of each into player->portraits. False with player->results->error. */
bool prepass(struct player *player, struct guard *guard, const char *const *paths, size_t count, unsigned index);

/* maps_slots.c: what the prepass tells of slots. */
void maps_foresee(struct player *player, const struct call *call);

#endif
