/* Bytes that a trace has by length and tag only. What came out of a call once goes in again where its tag does; PINs are
 * the user's; sealed values are opened with the key; all else has a stand-in of the same length and shape. */
#ifndef REPLAY_PAYLOAD_H
#define REPLAY_PAYLOAD_H

#include "decoder/replay/replay.h"

struct payload *payload_new(void);
void payload_free(struct payload *payload);

enum payload_class { PAYLOAD_DATA, PAYLOAD_SECRET, PAYLOAD_PIN_USER, PAYLOAD_PIN_SO };

/* How the bytes of a value were had. */
enum payload_how { PAYLOAD_RECORDED, PAYLOAD_FOLLOWED /* came out of an earlier call */, PAYLOAD_STAND_IN };

/* Stores value->length bytes at `to` (which has room for them; lengths beyond PAYLOAD_MOST never get here). */
enum payload_how payload_fill(struct player *player, const struct value *value, uint8_t *to);
#define PAYLOAD_MOST (64u << 20)

/* Is the PIN known: given by the user, or sealed in the trace to the key that was given? */
bool payload_pin_is_known(struct player *player, const struct value *value, enum payload_class class);

/* Bytes that came out where the recorded call returned `value`: the next input with that tag is these. */
void payload_learn(struct player *player, const struct value *value, const uint8_t *bytes, size_t length);

/* stand_in.c: bytes of that length and shape; the same for the same tag, so that equal stays equal. The first byte is zero
 * where the shape allows (a number that is smaller than a modulus). For emit-c too. */
void stand_in(const struct value *value, uint8_t *to);

#endif
