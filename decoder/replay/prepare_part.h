/* The making of objects from inside. */
#ifndef REPLAY_PREPARE_PART_H
#define REPLAY_PREPARE_PART_H

#include "decoder/replay/live.h"
#include "decoder/replay/portrait_part.h"
#include "decoder/replay/results.h"
#include "decoder/show/text.h"

struct prepare {
  struct player *player;
  const CK_FUNCTION_LIST_3_2 *f;
  CK_SESSION_HANDLE session;
  struct arena memory;
  int made;
};

/* Adds a sentence to what the replay says of its preparation; the same one only once. */
void prepare_say(struct prepare *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "certificate \"My card\"", for such sentences. */
const char *prepare_name(struct prepare *p, const struct portrait *portrait);
const char *prepare_code(struct prepare *p, CK_RV rv);

/* A template in the making. What is not needed may be left out when the token refuses it. */
#define PREPARE_MOST 96
struct prepare_template {
  CK_ATTRIBUTE at[PREPARE_MOST];
  bool needed[PREPARE_MOST], out[PREPARE_MOST];
  unsigned count;
};
void prepare_put(struct prepare *p, struct prepare_template *t, CK_ATTRIBUTE_TYPE type, const void *bytes,
                 size_t length, bool needed);
void prepare_put_number(struct prepare *p, struct prepare_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG number,
                        bool needed);
void prepare_put_bool(struct prepare *p, struct prepare_template *t, CK_ATTRIBUTE_TYPE type, bool value, bool needed);
/* All that the trace knows in full and that the maker of an object may say, and is not there yet. */
void prepare_put_known(struct prepare *p, struct prepare_template *t, const struct portrait *portrait);
bool prepare_has(const struct prepare_template *t, CK_ATTRIBUTE_TYPE type);

/* C_CreateObject, C_GenerateKey (mechanism, second NULL) or C_GenerateKeyPair; without what the token refuses, which is said.
 * `what` is prepare_name's. */
CK_RV prepare_make(struct prepare *p, const char *what, CK_MECHANISM *mechanism, struct prepare_template *first,
                   struct prepare_template *second, CK_OBJECT_HANDLE made[2]);

/* prepare_key.c. `public` or `private` may be NULL. True when it was made. */
bool prepare_pair(struct prepare *p, const struct portrait *public, const struct portrait *private,
                  const struct portrait *certificate);
bool prepare_secret(struct prepare *p, const struct portrait *portrait);

/* prepare_wanted.c: what the trace found on the token of a recorded slot and did not make, each object once. */
struct prepare_list {
  struct portrait **at;
  size_t count;
};
void prepare_wanted(struct prepare *p, uint64_t slot, struct prepare_list *list);

#endif
