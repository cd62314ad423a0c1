/* Between the files of live_*.c, compare_*.c and payload.c. */
#ifndef REPLAY_LIVE_PART_H
#define REPLAY_LIVE_PART_H

#include "decoder/replay/live.h"
#include "decoder/replay/payload.h"
#include "decoder/show/value.h"

/* --- memory (live_memory.c) ------------------------------------------------------------------------------------ */

/* A buffer with a canary behind it, or one with a secret in it. In the arena; the buffers lie elsewhere, so that a module that
 * writes behind one does not reach this. */
struct live_piece {
  struct live_piece *next;
  uint8_t *at;
  size_t size;
  const char *name;   /* of the parameter or member; NULL: `attribute` */
  uint64_t attribute; /* type */
  bool guarded, secret;
};

#define LIVE_CANARY 64

/* Memory that the module writes: `size` bytes of zeros and a canary. */
void *live_room(struct live *live, size_t size, const char *name, uint64_t attribute);
/* Bytes that somebody wrote behind the piece, 0 none. */
size_t live_overrun(const struct live_piece *piece);
/* To be wiped when the call is over. */
void live_secret(struct live *live, void *at, size_t size);
void live_wipe(struct live *live);
/* For a length that nobody has memory for: 64 KiB that can be read and written, with nothing behind it. */
void *live_small(struct live *live);
/* An address where nothing is: what the recorder could not read. */
void *live_nowhere(struct live *live);
/* An asynchronous module goes on writing after the call (3.2, 5.22): its memory is kept to the end of the program. */
void live_abandon(struct live *live);
void live_begin(struct live *live);
bool live_is_size_query(const struct call *call);

/* Why the call cannot be made; the text lives as long as live->memory. */
const char *live_cannot(struct live *live, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- values (live_value.c, live_template.c, live_structure.c) --------------------------------------------------- */

/* One call that is being laid out. */
struct laying {
  struct live *live;
  struct player *player;
  unsigned param;  /* the one at hand */
  bool writes;     /* members of structures that the module may write are its answer (encryption of a message) */
  const char *why; /* it cannot be made */
  const struct value *out; /* what the recorded module wrote into the structures of the parameter; NULL unknown */
};

/* Length that is no length of any buffer. */
static inline bool live_absurd(uint64_t length)
{
  return length > PAYLOAD_MOST;
}

/* A copy of recorded bytes in memory of their length, or what stands for them; *length becomes theirs where they follow an earlier
 * output that is longer or shorter now. NULL pointers stay NULL. `given` is the length that the caller gave. */
void *live_bytes(struct laying *l, const struct value *value, enum payload_class class, uint64_t *length);
/* The same at memory that is there already, of value->length bytes. */
void live_fill(struct laying *l, const struct value *value, enum payload_class class, uint8_t *to);
uint64_t live_object(struct laying *l, uint64_t recorded, const char *name);
uint64_t live_slot(struct laying *l, uint64_t recorded, const char *name);

enum payload_class live_class(unsigned secrecy);
enum payload_class live_attribute_class(uint64_t type);

CK_ATTRIBUTE *live_template(struct laying *l, const struct value *template, unsigned depth);
CK_ATTRIBUTE *live_asked(struct laying *l, const struct value *asked, const struct value *answered);
CK_MECHANISM *live_mechanism(struct laying *l, const struct value *mechanism, unsigned depth);
void live_structure(struct laying *l, const struct p11_struct *s, uint8_t *to, const struct value *members,
                    const struct value *out, unsigned depth);
void *live_message(struct laying *l, const struct value *value, uint64_t session, uint64_t length);
void *live_init_args(struct laying *l, const struct value *args);
CK_RV live_notify(CK_SESSION_HANDLE session, CK_NOTIFICATION event, CK_VOID_PTR application);

/* --- what depends on what (live_state.c) ------------------------------------------------------------------------ */

enum live_taint {
  TAINT_STAND_IN = 1, /* made with bytes that stood in for others */
  TAINT_FRESH = 2,    /* a key that is not the recorded one: generated anew, or found on a prepared token */
  TAINT_LOST = 4      /* the operation went another way than the recorded one, for a reason of ours */
};

enum live_op_kind {
  LIVE_ENCRYPT,
  LIVE_DECRYPT,
  LIVE_DIGEST,
  LIVE_SIGN,
  LIVE_VERIFY,
  LIVE_MESSAGE_ENCRYPT,
  LIVE_MESSAGE_DECRYPT,
  LIVE_MESSAGE_SIGN,
  LIVE_MESSAGE_VERIFY,
  LIVE_FIND,
  LIVE_KINDS
};

struct live_op {
  uint64_t mechanism;
  uint8_t taint;
};

/* What a function does to operations, from its name and group. */
struct live_role {
  uint16_t ops; /* bits by enum live_op_kind */
  bool begins, ends;
  bool consumes; /* reads what the opposite operation wrote: decrypts, verifies, unwraps */
};
const struct live_role *live_role(int known);

struct live_states;
struct live_states *live_states_new(void);
void live_states_free(struct live_states *states);
/* The operation of a recorded session; NULL when none is known (find), else made (make). */
struct live_op *live_op_find(struct player *player, uint64_t session, unsigned kind);
struct live_op *live_op_make(struct player *player, uint64_t session, unsigned kind);
void live_session_gone(struct player *player, uint64_t session);
/* What holds of an object that no call of this process made. */
unsigned live_object_default(const struct player *player);
unsigned live_object_taint(struct player *player, uint64_t object);
void live_object_mark(struct player *player, uint64_t object, unsigned taint);
void live_all_gone(struct player *player);

/* --- comparison (compare_*.c) ------------------------------------------------------------------------------------ */

struct comparing {
  struct live *live;
  struct player *player;
  struct difference *found;
  unsigned *count;
  bool unsure; /* something differs that may do so for what stood in */
};

/* Texts are made only where something differs. */
struct difference *compare_differ(struct comparing *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void compare_text(char to[160], const char *format, ...) __attribute__((format(printf, 2, 3)));
void compare_show(char to[160], const struct value *value, struct meaning meaning);
/* One number beside another. */
void compare_number(struct comparing *c, const char *place, struct meaning meaning, uint64_t then, uint64_t now);
/* May bytes be compared? What a stand-in or another key made is of its length only, unless it undoes what this replay did. */
bool compare_exactly(const struct comparing *c);
/* Bytes of equal length beside those recorded; nothing is said where neither the bytes nor an equal tag is known. */
void compare_bytes(struct comparing *c, const char *place, const struct value *then, struct meaning meaning,
                   enum p11_secrecy secrecy, const uint8_t *now, size_t length);
bool compare_same_bytes(struct comparing *c, const struct value *then, const uint8_t *now, size_t length);
void compare_structure(struct comparing *c, const char *place, const struct value *then, const void *now);
void compare_attributes(struct comparing *c, unsigned param);
void compare_mechanisms(struct comparing *c, unsigned param);
void compare_interfaces(struct comparing *c, unsigned param);
/* compare_functions.c: what the module handed out today, as C_GetFunctionList's or as the interface "PKCS 11". */
void compare_functions(struct comparing *c, const void *functions, bool interface);
/* EVENT_LIST of the trace, before any call is made. */
void live_list_foresee(struct player *player, const struct event *event);
/* compare_code.c */
bool code_depends_on_data(const struct call *call, uint64_t rv);
bool code_fills_template(uint64_t rv);
bool mechanism_is_deterministic(uint64_t mechanism);
/* Does the attribute differ from key to key? */
bool attribute_is_of_key(uint64_t type);
/* Entries or bytes that the module says it stored, at most as many as there was room for. */
uint64_t live_stored(const struct live *live, unsigned param);

/* --- sizes that were asked for (live_answers.c) ----------------------------------------------------------------- */

#define LIVE_ANSWERS 1024
struct live_answer {
  uint64_t key, then, now;
};
/* A question for a length was answered; the room that the application would have made after it. */
void live_answered(struct player *player, const struct call *call, uint64_t then, uint64_t now);
uint64_t live_room_for(struct player *player, const struct call *call, uint64_t given);
/* The same for an attribute of the object that the call is about. */
void live_attribute_answered(struct player *player, const struct call *call, uint64_t type, uint64_t then,
                             uint64_t now);
uint64_t live_attribute_room(struct player *player, const struct call *call, uint64_t type, uint64_t given);

/* A function list that the recorded module handed out. */
#define LIVE_LISTS 8
struct live_list {
  bool interface; /* by name; else by C_GetFunctionList */
  uint16_t version, count;
  uint8_t nulls[32];
};

struct good_pins;
struct kept_values;
struct seal_process;
struct payload {
  struct kept_values *kept;
  struct live_states *states;
  bool renamed;    /* values that the trace has in full came out otherwise: inputs are looked up */
  bool so;         /* the latest login was the security officer's */
  bool asked_seal; /* whether the key opens what the process sealed */
  struct seal_process *opened;
  struct good_pins *pins;
  struct live_list list[LIVE_LISTS];
  bool larger; /* some answer was */
  struct live_answer answer[LIVE_ANSWERS];
  uint64_t good_pin[2]; /* tags of the PINs, the user's and the officer's, that were good first; sealed traces only */
  uint64_t random_tag, random_name; /* of the latest random numbers: recorded and today's */
};

/* Is the value sealed, and does the given key open it? */
bool payload_opens(struct player *player, const struct value *value);
/* A number for bytes, the same for the same. */
uint64_t payload_name(const uint8_t *bytes, size_t length);

/* The bytes that the value is now, and how; NULL when it has none of its own. */
const uint8_t *payload_find(struct player *player, const struct value *value, size_t *length, enum payload_how *how);
/* The PIN that the user gave. */
const struct replay_pin *payload_pin(const struct player *player, enum payload_class class);
#endif
