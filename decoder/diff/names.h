/* What handles are called while a trace is read: names that are the same in both traces where the same thing is
 * meant.
 *
 * A session is called after its slot, whether it is read/write, and (in a single thread, where that is no chance)
 * the lowest number that was free when it was opened. An object that a call of the trace made is called after that
 * call (and, in a single thread, how many like it there were); one that a search found after the one of the other
 * trace that it was paired with (survey.h). */
#ifndef DIFF_NAMES_H
#define DIFF_NAMES_H

#include "decoder/diff/diff.h"
#include "decoder/diff/survey.h"
#include "decoder/model/table.h"

enum {
  NAMES_MADE = 65536, /* objects made by calls whose names are kept; the oldest goes */
  NAMES_VALUES = 1 << 16
};

struct names_slot {
  uint64_t id, login; /* CKU_ + 1 as the application must believe, 0 nobody */
  uint64_t changed;   /* number of the LEAVE that changed it last */
  unsigned changing;  /* calls in flight that may change it */
  unsigned open;      /* sessions */
};

struct names_session {
  uint64_t handle, slot, name;
  unsigned ordinal;
  uint64_t
      begun[P11_GROUP_COUNT]; /* questions of the calls that began the operation of each chapter; a search's: OBJECT */
};

struct names {
  const struct module_seen *module; /* NULL while the survey reads */
  bool ordinals;                    /* sessions by number too */
  unsigned generation;              /* C_Finalize calls */
  struct table sessions;            /* handle -> struct names_session */
  struct names_slot *slot;
  size_t slots;
  struct table made; /* key of object -> name + 1 in ring */
  struct {
    uint64_t key, name, kind;
  } * ring;
  struct table alike; /* kind of made object -> how many there are */
  uint64_t made_count;
  uint64_t *value; /* hashes of byte values seen before the first key was generated, open addressing */
  size_t values;
  bool generated;   /* a key was: values that nobody saw before are of it, and chance */
  struct table set; /* hashes of such values that the application itself gave an object -> type of the attribute + 1 */
};

void names_start(struct names *names, const struct module_seen *module, bool ordinals);
void names_free(struct names *names);

uint64_t names_slot(const struct names *names, uint64_t id);
uint64_t names_session(const struct names *names, uint64_t handle);
uint64_t names_object(const struct names *names, uint64_t handle);
bool names_is_made(const struct names *names, uint64_t handle);
/* Slot of a session that is open, UINT64_MAX when it is not known. */
uint64_t names_slot_of(const struct names *names, uint64_t session);
/* Hash of bytes that stand in the trace in full. */
uint64_t names_value(struct names *names, const uint8_t *bytes, size_t size);

/* The question that began the operation that this call goes on with; 0 when it begins one, or goes on with none. */
uint64_t names_begun(const struct names *names, const struct call *call);

/* EVENT_ENTER: a call that may change who is logged in is under way. */
void names_enter(struct names *names, const struct call *call);
/* Who is logged in on the slot of this call (a part of the question in crowds); *unsure: that changed during the
 * call. */
uint64_t names_login(const struct names *names, const struct call *call, bool *unsure);
/* EVENT_CALL: what it made, began and ended. `question`: of the call, names the operation that it began. */
void names_leave(struct names *names, const struct call *call, uint64_t question);

#endif
