/* A recorded call on its way to another module: memory laid out as the application had it, handles as they are now.
 * The function table says what each parameter is; nothing here knows a function by name but where the standard makes an
 * exception. */
#ifndef REPLAY_LIVE_H
#define REPLAY_LIVE_H

#include "decoder/read/arena.h"
#include "decoder/replay/replay.h"

struct live {
  const struct call *call; /* as recorded */
  struct arena memory;     /* buffers, templates, parameters of mechanisms: lives until the next live_build */
  uint64_t v[10];          /* the arguments as the module gets them */
  uint64_t room[10]; /* of a buffer that is written: its size in bytes (entries of lists), 0 when the pointer is NULL */
  uint64_t rv;       /* what the module answered */
  uint64_t start, end; /* ns, CLOCK_MONOTONIC of this machine */
  /* Inputs that stand in for what was not recorded: bit by parameter. What comes out of such a call is compared by length. */
  uint16_t stand_in;
  bool tainted; /* the same, or what it works on (operation, key) was made with stand-ins before */
  /* Of live.c and compare.c, live_part.h: */
  uint8_t taint;            /* enum live_taint */
  uint16_t followed;        /* inputs that came out of earlier calls: bit by parameter */
  struct live_piece *piece; /* buffers that must not be overrun, or that are to be wiped */
  struct live_area *area;   /* where those lie that the module writes */
};

/* Lays out the call. NULL when it can be made; else why not, in words ("its object 0x12 is not there: #37 ..."). Text lives as
 * long as live->memory. Under player->lock. */
const char *live_build(struct live *live, struct player *player, const struct call *call);

/* Takes in what came out: handles (maps.h), bytes by their tag (payload.h), what is tainted now. After live_compare.
 * Under player->lock. */
void live_learn(struct live *live, struct player *player);

void live_free(struct live *live);

/* One thing that differs. Texts are UTF-8 and escaped as dump prints them. */
struct difference {
  char place[80];                    /* "rv", "pInfo.label", "pTemplate CKA_LABEL", "*pulCount", "phObject" */
  char recorded[160], replayed[160]; /* CKR_OK, CKR_PIN_INCORRECT; "cut..." where long */
};
enum outcome {
  OUTCOME_SAME,
  OUTCOME_DIFFERENT,
  OUTCOME_INCOMPARABLE, /* made, but redaction took what would have to be compared */
  OUTCOME_WITHHELD      /* not made */
};
#define LIVE_DIFFERENCES 32

/* compare.c: what came out beside what was recorded. Fills `found` (at most LIVE_DIFFERENCES) and *count; with INCOMPARABLE
 * *reason says why (static or in live->memory). A call that was tainted and failed where the recorded one did not is
 * INCOMPARABLE. Under player->lock. */
enum outcome live_compare(struct live *live, struct player *player, struct difference *found, unsigned *count,
                          const char **reason);

/* verify.c: is the signature that came out one of the key that made it, over the data that was signed? */
enum verified { VERIFIED, VERIFIED_WRONG, VERIFIED_NOT /* no public key, or a mechanism that we cannot check */ };
/* The operation that begins, goes on or ends with this call, as it was made now; under player->lock, after every call. */
void verify_see(struct player *player, const struct live *live);
/* Of a call that returned a signature (P11_CMP_VERIFY), before verify_see. */
enum verified verify_signature(struct player *player, const struct live *live);
void verify_drop(struct player *player);

/* target.c: the module. NULL with a line on stderr that names it. */
struct target *target_open(const char *path);
void target_close(struct target *target);
/* Makes the call: live->v in, live->rv, start and end out. CKR_FUNCTION_NOT_SUPPORTED where the module has no such function.
 * No lock may be held. */
void target_call(struct target *target, struct live *live);
/* For calls of our own (verify.c, prepare.c, maps.c): the table as far as the module has it, other places NULL. */
const CK_FUNCTION_LIST_3_2 *target_functions(const struct target *target);

#endif
