/* What a call made today although the recorded one failed. The application knows nothing of it and will neither use nor end it:
 * the replay ends it at once, so that what follows finds the token and the sessions as they were. */
#ifndef REPLAY_UNDO_H
#define REPLAY_UNDO_H

#include "decoder/replay/live.h"

struct undo {
  CK_SESSION_HANDLE session; /* of the call, or the one that it opened: */
  bool opened;
  CK_OBJECT_HANDLE object[4];
  unsigned objects;
};

/* Before live_learn. False: there is nothing to undo. */
bool undo_find(struct undo *undo, const struct live *live);
/* Without player->lock. What cannot be destroyed is left in `undo`. */
void undo_make(struct undo *undo, const CK_FUNCTION_LIST_3_2 *functions);

#endif
