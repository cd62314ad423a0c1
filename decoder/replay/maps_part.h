/* What the files of maps share.
 *
 * A recorded handle is a number that the module may have given out many times. Each time is a life of its own: it begins
 * with the LEAVE of the call that handed the handle out and ends with the call that ended it. A call is about the newest
 * life that had begun when it was made, so that threads that go their own way today still mean what they meant. */
#ifndef REPLAY_MAPS_PART_H
#define REPLAY_MAPS_PART_H

#include "decoder/model/table.h"
#include "decoder/replay/live_part.h"
#include "decoder/replay/lost.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/maps_misfit.h"

/* One recorded slot. */
struct place {
  uint64_t id, now;
  bool paired, was_paired; /* now; at all: `now` is the last one */
  bool fixed;              /* the user said so */
  bool known;              /* the recorded module had it */
  uint64_t lost;           /* the call after which there was none for it */
  unsigned sessions;       /* open */
  uint64_t epoch;          /* moves when handles of its objects may have become invalid, */
  uint64_t era;            /* and this one when all may have */
  uint64_t no_login;       /* the login that was not made or failed, until the recorded logout */
  uint64_t no_try;         /* the last login with a wrong PIN that was not made, until one with the right one */
  uint64_t withheld;       /* the last call not made that would have changed the token */
  bool has_token;          /* what C_GetTokenInfo first said: */
  uint8_t label[32], serial[16], model[16];
  bool initialised;
};

struct handles {
  uint64_t *at;
  size_t count, room;
};

/* What only sessions have. */
struct session {
  struct place *place;          /* NULL: not known */
  struct life *objects;         /* session objects made in it */
  uint64_t gone[LIVE_KINDS];    /* the call with which an operation went another way; 0 */
  struct handles recorded, now; /* found in the search so far, and not paired */
  bool has_class;               /* it asks for this CKA_CLASS: */
  uint64_t class;
  struct maps_asked *asked; /* its template, NULL when it is not that of then */
  bool misfits;             /* what came last was not asked for: */
  uint64_t misfit;          /* see this attribute */
  uint64_t because;         /* a call because of which it finds other objects than then; 0 none, */
  uint64_t explained;       /* and the same when there is no other reason, as far as it went */
  struct session *spare;
};

struct life {
  uint64_t handle, now;
  uint64_t from, to; /* numbers; to: UINT64_MAX while it lasts */
  uint64_t lost;     /* the call that would have handed it out; 0: `now` stands for it */
  struct life *older;
  struct session *session; /* NULL: an object */
  /* Of objects: */
  struct place *place;
  uint64_t epoch;    /* of the place when it was paired */
  uint64_t era;      /* when it began */
  uint64_t withheld; /* the last C_SetAttributeValue of it that was not made */
  bool made;
  struct life *owner; /* session of a session object; its neighbours: */
  struct life *next, *previous;
};

/* Sessions or objects. */
struct side {
  struct table recorded; /* handle to its newest life */
  struct table now;      /* today's handle to how many lives it stands for, as a pointer */
};

enum { ENDED_KEPT = 256, OBJECTS_KEPT = 1 << 18 };

struct maps {
  const struct call *at;
  bool at_end; /* as things are when it returns, instead of when it is made */
  struct side session, object;
  struct life *ended[ENDED_KEPT]; /* the last ones that ended, kept for calls that overlapped with their end */
  unsigned ended_at;
  size_t most; /* objects, before those that may be over are given up */
  struct life *spare;
  struct session *spare_session;
  struct table spared;  /* today's objects that live on because C_DestroyObject was withheld */
  struct place **place; /* in the order in which the trace shows them */
  size_t places;
  struct table place_by_id;
  struct table slot_now; /* today's slots that stand for one */
  bool fixed_read;       /* options->slot */
  bool late;             /* the trace begins with the process under way */
};

/* maps.c */
struct life *life_of(const struct maps *maps, const struct side *side, uint64_t handle);
/* `lost`: the call is the one that did not hand it out today; 0: it did. */
struct life *life_begin(struct maps *maps, struct side *side, uint64_t handle, uint64_t now, const struct call *call,
                        uint64_t lost);
void life_end(struct maps *maps, struct side *side, struct life *life, uint64_t number);
bool life_is_today(const struct side *side, uint64_t now);
void life_move(struct side *side, struct life *life, uint64_t now);
/* The object may have got another handle since it was paired: nothing is wrong if it has. */
bool life_is_weak(const struct life *life);
/* The session of the call, NULL when it has none that is known. */
struct life *session_of(const struct maps *maps, const struct call *call);
uint64_t number_of(const struct call *call);
void handles_add(struct handles *list, uint64_t handle);
void handles_drop(struct handles *list, size_t at);

/* Everything ends with C_Finalize, but what the user said of slots. */
void maps_finalized(struct maps *maps, uint64_t number);

/* maps_pair.c: a search did not find it today. */
void maps_lose_found(struct maps *maps, uint64_t handle, const struct call *call);

/* maps_found.c: C_FindObjectsInit. */
void maps_search_begins(struct session *search, const struct call *call);

/* maps_around.c: recorded objects that the search has not come to today, though they are there. */
void maps_look_around(struct player *player, const struct session *search, const struct call *call);

/* maps_misfit.c: those of `now`, `count` that have no pair; session is today's. */
void maps_misfit_look(struct player *player, struct session *search, CK_SESSION_HANDLE session, const struct call *call,
                      const uint64_t *now, size_t count);

/* maps_slots.c */
struct place *place_of(struct maps *maps, uint64_t id);
struct place *place_make(struct maps *maps, uint64_t id);

#endif
