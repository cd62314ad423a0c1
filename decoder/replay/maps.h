/* Slots, sessions and objects: the numbers of the trace and those of today. All under player->lock. */
#ifndef REPLAY_MAPS_H
#define REPLAY_MAPS_H

#include "decoder/replay/replay.h"

struct maps *maps_new(void);
void maps_free(struct maps *maps);

/* The call that all questions belong to until the next maps_at: a handle that the module gave out again later is looked up as
 * it was when that call was made. */
void maps_at(struct maps *maps, const struct call *call);

/* The trace begins with the process under way: handles that it never saw handed out may be good ones. */
void maps_late(struct maps *maps, bool late);

/* Was the object that a recorded handle stands for made by a call of this replay? */
bool maps_object_made(struct player *player, uint64_t recorded);
/* Is it certain that the handle is of no object today, because it was of none then? */
bool maps_object_none(struct player *player, uint64_t recorded);
/* The slot, in the trace, of a recorded session; false when it is not known. */
bool maps_session_slot(struct player *player, uint64_t recorded, uint64_t *slot);
/* Is a session open today on what stands for the recorded slot? */
bool maps_slot_has_session(struct player *player, uint64_t slot);

/* The number that stands for a recorded one. False: there is none today (a slot that is missing, a session or object that
 * could not be made, found or was withheld); *why then says since which call, 0 unknown. Numbers that the trace never saw
 * handed out (an application that calls with a wrong handle) are answered with a number that is no handle today either, and
 * true. CK_INVALID_HANDLE stays. */
bool maps_slot(struct player *player, uint64_t recorded, uint64_t *now, uint64_t *why);
bool maps_session(struct player *player, uint64_t recorded, uint64_t *now, uint64_t *why);
bool maps_object(struct player *player, uint64_t recorded, uint64_t *now, uint64_t *why);

/* What a call handed out. */
void maps_pair_session(struct player *player, uint64_t recorded, uint64_t now, const struct call *call);
void maps_pair_object(struct player *player, uint64_t recorded, uint64_t now, const struct call *call);
/* All that C_GetSlotList listed: pairs by label, serial, model (asked of the module), then order. */
void maps_pair_slots(struct player *player, const uint64_t *recorded, size_t recorded_count, const uint64_t *now,
                     size_t now_count);
/* What one C_FindObjects returned, in `session` (recorded handle): pairs what belongs together, whatever the order; where that
 * is open, by what the trace knows of the objects (portrait.h). *missing: recorded ones that did not come in this search,
 * *more: those that came and were not recorded; both are known only when the search ends (C_FindObjectsFinal, or a call that
 * returned fewer than asked for) and 0 before. */
void maps_pair_found(struct player *player, uint64_t session, const struct call *call, const uint64_t *now,
                     size_t count, size_t *missing, size_t *more);
/* What a call ended: C_CloseSession, C_CloseAllSessions, C_DestroyObject, C_Finalize, C_Logout. */
void maps_ended(struct player *player, const struct call *call);
/* The call that would have handed it out was withheld or failed today: what needs it cannot be made. */
void maps_lost(struct player *player, const struct call *call);
/* Today's object is there because of the call, and the recorded token had none like it. */
void maps_spare(struct player *player, uint64_t now, const struct call *call);

#endif
