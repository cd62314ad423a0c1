/* An application that looks at each object as a search hands it out, on a module that hands them out in another order: the
 * object that is meant is there, but this search has not come to it. */
#include "decoder/replay/live.h"
#include "decoder/replay/maps_part.h"
#include "decoder/replay/portrait.h"

enum { AROUND_MOST = 1024 };

/* All objects that can be seen on the token today, by a session of our own. */
static size_t list_all(const struct player *player, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE list[AROUND_MOST])
{
  const CK_FUNCTION_LIST_3_2 *f = target_functions(player->target);
  size_t count = 0;
  if (f->C_FindObjectsInit(session, NULL, 0) != CKR_OK) return 0;
  while (count < AROUND_MOST) {
    CK_ULONG n = 0;
    if (f->C_FindObjects(session, list + count, AROUND_MOST - count, &n) != CKR_OK || !n) break;
    count += n < AROUND_MOST - count ? n : AROUND_MOST - count;
  }
  f->C_FindObjectsFinal(session);
  return count;
}

static void pair_one(struct player *player, const struct portrait *portrait, CK_SESSION_HANDLE session,
                     const CK_OBJECT_HANDLE *list, size_t count, const struct call *call)
{
  size_t best = SIZE_MAX;
  int most = -1;
  for (size_t i = 0; i < count; i++) {
    if (life_is_today(&player->maps->object, list[i])) continue;
    bool wholly;
    const int fits = portrait_fits(player, portrait, session, list[i], &wholly);
    if (fits > most) most = fits, best = i;
  }
  if (best != SIZE_MAX) maps_pair_object(player, portrait->handle, list[best], call);
}

void maps_look_around(struct player *player, const struct session *search, const struct call *call)
{
  const CK_FUNCTION_LIST_3_2 *f = target_functions(player->target);
  static CK_OBJECT_HANDLE list[AROUND_MOST]; /* under player->lock */
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  size_t count = 0;
  for (size_t i = 0; i < search->recorded.count && player->portraits && search->place && search->place->paired; i++) {
    const uint64_t handle = search->recorded.at[i];
    if (life_of(player->maps, &player->maps->object, handle)) continue;
    const struct portrait *portrait = portrait_of(player->portraits, handle, call->number);
    if (!portrait) continue;
    if (!session) {
      if (!f->C_OpenSession || !f->C_FindObjectsInit || !f->C_FindObjects || !f->C_FindObjectsFinal ||
          !f->C_CloseSession ||
          f->C_OpenSession(search->place->now, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        return;
      count = list_all(player, session, list);
    }
    pair_one(player, portrait, session, list, count, call);
  }
  if (session) f->C_CloseSession(session);
}
