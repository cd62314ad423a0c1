/* Sealed values (capture=full, FORMAT.md section 9): key pairs, and the values opened for whoever has the private key.
 * Keys lie in memory that no core dump holds (sodium_malloc); what was opened is wiped when it has been used. */
#ifndef SEAL_SEAL_H
#define SEAL_SEAL_H

#include "decoder/read/trace.h"

struct seal_key;     /* a private key */
struct seal_process; /* the key of one process's values */

/* The private key in the file `path`, as `p11trace keygen` made it. NULL, after one line on stderr that begins with `who`. */
struct seal_key *seal_key_read(const char *who, const char *path);
void seal_key_free(struct seal_key *key);

enum seal_fit {
  SEAL_FITS,
  SEAL_NOTHING,   /* the process sealed nothing */
  SEAL_OTHER_KEY, /* to another public key than this one's */
  SEAL_SPOILT     /* to this one, but what HEAD says does not open: damaged, or changed by somebody */
};

/* The key of the process's values into *opened, NULL unless it fits. */
enum seal_fit seal_open_process(const struct seal_key *key, const struct process *process,
                                struct seal_process **opened);
void seal_process_free(struct seal_process *opened);

/* One line on stderr that says what the process is sealed to and what was given; nothing when it fits. */
void seal_tell(const char *who, const struct seal_key *key, const struct process *process, enum seal_fit fit);

enum seal_result {
  SEAL_OPENED,     /* all of it */
  SEAL_CUT,        /* the first bytes: the rest was cut when it was recorded */
  SEAL_NOT_SEALED, /* no sealed value, or of a kind that this program does not know */
  SEAL_DAMAGED     /* not what was recorded in this place of this process */
};

/* Room that seal_open_value needs: at most value->length, 0 for what is not sealed. */
size_t seal_room(const struct value *value);
/* Stores the value's bytes, seal_room(value) of them, at `to`, only when it says OPENED or CUT. */
enum seal_result seal_open_value(const struct seal_process *opened, const struct value *value, uint8_t *to);

/* Class of a sealed value (enum p11t_seal_class), 0 for others. It cannot be changed without SEAL_DAMAGED. */
unsigned seal_class_of(const struct value *value);

/* What a public key is called: 8 groups of 4 hexadecimal digits, the first 16 bytes of its BLAKE2b hash of 32. */
#define SEAL_NAME 40
void seal_name(const uint8_t public_key[P11T_SEAL_KEY], char name[SEAL_NAME]);

/* What is wrong with the public key file for seal-to=, and what to do; NULL, and the key, when the recorder will take it. */
const char *seal_public_problem(const char *path, uint8_t key[P11T_SEAL_KEY]);

/* p11trace keygen: a new pair as NAME.pub and NAME.key, neither of which may exist; the fingerprint goes to `fingerprint`.
 * False, after one line on stderr, when it could not; no file is left then. */
bool seal_make_pair(const char *who, const char *name, const char *comment, char fingerprint[SEAL_NAME]);

#endif
