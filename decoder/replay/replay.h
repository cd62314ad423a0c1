/* Replay: the calls of a trace made again on another module, and what came out beside what was recorded.
 *
 *   job.c      a trace in a process of its own, so that a module that crashes or hangs is a result and not our end
 *   choose.c   which of a process's modules
 *   player.c   in that process: the calls of one recorded process, in the order that the mode wants
 *   guard.c    what is not done to a card
 *   live.c     a recorded call made ready to be made: live.h
 *   maps.c     slots, sessions and objects, then and now: maps.h
 *   payload.c  bytes that were not recorded, and what depends on them: payload.h
 *   compare.c  what came out beside what was recorded
 *   verify.c   signatures, checked with the public key
 *   portrait.c what the trace knows of each object; prepare.c makes those on an empty token
 *   results.c  differences by kind, counts, latencies: results.h
 *   explain.c  the history of a difference */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "decoder/filter/filter.h"
#include "decoder/read/trace.h"

enum replay_mode {
  REPLAY_SERIAL, /* one thread, in the order in which the calls returned */
  REPLAY_RELAY,  /* the recorded threads, one call at a time in that order */
  REPLAY_FREE    /* the recorded threads; a call waits for those that had returned before it was made, for no others */
};

/* A token is not today what it was after the recorded process: results_changed. */
struct replay_change {
  uint64_t slot;   /* today's number */
  bool pin;        /* a PIN is another one; else: objects */
  uint64_t call;   /* that was not made, or came out otherwise */
  char trace[100]; /* file name of its trace */
};
#define REPLAY_CHANGES 32

struct replay_pin {
  bool given;
  uint8_t bytes[256];
  size_t length;
};

struct replay_options {
  const char *module; /* path of the library to be tried */
  const char
      *recorded; /* of a process with several modules: part of the path of the one whose calls are replayed; NULL */
  /* Of the process that is played, as choose.c found it: the path of that module, exactly. Loaded more than once it has
   * several ids: choose_takes. NULL: every module. */
  const char *chosen;
  const struct replay_change *before; /* by processes that were replayed earlier; the first of each slot and sort */
  unsigned changes_before;
  bool keys_before; /* one of them generated keys: what lies on a token may be another key than the recorded one */
  const char *parameters; /* the member after `flags` of CK_C_INITIALIZE_ARGS; NULL: as recorded, as far as it is */
  struct replay_pin user, so;
  const char *const *slot; /* "OLD=NEW", numbers; ends with NULL. NULL: by label, serial, model, then order */
  enum replay_mode mode;
  bool recorded_speed;        /* wait as the application did */
  bool destructive;           /* what guard.c withholds is done */
  bool prepare;               /* make the objects that the trace expects to find, first */
  uint64_t until;             /* number of the last call that is made; 0: all */
  const struct filter *calls; /* NULL: all */
  unsigned timeout;           /* seconds that a call may take */
  const struct seal_key *key; /* opens sealed values (decoder/seal/seal.h); NULL: none was given */
};

struct target;
struct maps;
struct payload;
struct portraits;
struct results;
struct verify;

/* One recorded process on one module. `lock` guards all but `target`; it is never held while a recorded call is made. Questions
 * of our own are asked under it. */
struct player {
  const struct replay_options *options;
  struct process *process;
  struct target *target;
  struct maps *maps;
  struct payload *payload;
  struct portraits *portraits;
  struct verify *verify;   /* of verify.c; NULL until it is needed */
  struct results *results; /* shared with the process that waits for us */
  pthread_mutex_t lock;
};

/* choose.c: is module `id` of the process the one whose calls are replayed? */
bool choose_takes(const struct replay_options *options, const struct process *process, uint16_t id);

/* player.c: plays the process `index` of the trace from its beginning to its end. To be called in a process of its own; what
 * happened is in `results`. False: it could not (said in results->error). */
bool replay_play(const char *const *paths, size_t count, unsigned index, const struct replay_options *options,
                 struct results *results);

#endif
