/* What is known of values: those that came out of calls are found again by their tag, or by what they were. */
#include "decoder/replay/payload.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/read/arena.h"
#include "decoder/replay/good_pin.h"
#include "decoder/replay/live_part.h"
#include "decoder/replay/payload_kept.h"
#include "decoder/seal/seal.h"

/* Shorter values are many things at once: an exponent, a date, a number. */
#define SHORTEST_NAMED 8
/* As much of a long value as a tag of the recorder covers. */
#define HASHED 2048

struct payload *payload_new(void)
{
  struct payload *payload = read_zalloc(sizeof *payload);
  payload->kept = kept_values_new();
  payload->states = live_states_new();
  payload->pins = good_pins_new();
  return payload;
}

void payload_free(struct payload *payload)
{
  if (payload == NULL) return;
  kept_values_free(payload->kept);
  live_states_free(payload->states);
  seal_process_free(payload->opened);
  good_pins_free(payload->pins);
  free(payload);
}

static uint64_t mix(uint64_t hash, const uint8_t *bytes, size_t length)
{
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    hash = (hash ^ word) * 0x9fb21c651e98df25ull;
    hash ^= hash >> 29;
  }
  for (; length > 0; bytes++, length--) hash = (hash ^ *bytes) * 0x100000001b3ull;
  return hash ^ hash >> 32;
}

uint64_t payload_name(const uint8_t *bytes, size_t length)
{
  uint64_t hash = 0x6a09e667f3bcc908ull ^ length;
  if (length <= 2 * HASHED) return mix(hash, bytes, length);
  return mix(mix(hash, bytes, HASHED), bytes + length - HASHED, HASHED);
}

static bool has_name(const struct value *value)
{
  return value->form == P11T_V_FULL && value->kept >= SHORTEST_NAMED;
}

const uint8_t *payload_find(struct player *player, const struct value *value, size_t *length, enum payload_how *how)
{
  const struct payload *payload = player->payload;
  const struct kept_value *kept = NULL;
  if (value->what != VALUE_BYTES) return NULL;
  if (value_is_tagged(value)) {
    kept = kept_value_find(payload->kept, value->number);
  } else if (payload->renamed && has_name(value)) {
    kept = kept_value_find(payload->kept, payload_name(value->bytes, value->kept));
  }
  if (kept != NULL) {
    *length = kept->length;
    *how = kept->stand_in ? PAYLOAD_STAND_IN : PAYLOAD_FOLLOWED;
    return kept_value_bytes(payload->kept, kept);
  }
  if (value->form != P11T_V_FULL) return NULL;
  *length = value->kept;
  *how = PAYLOAD_RECORDED;
  return value->bytes;
}

const struct replay_pin *payload_pin(const struct player *player, enum payload_class class)
{
  const struct replay_pin *pin = class == PAYLOAD_PIN_SO ? &player->options->so : &player->options->user;
  return pin->given ? pin : NULL;
}

/* Opens a sealed value; false: there is no key, or it is not that of the trace, or the value is cut. */
static bool opens(struct player *player, const struct value *value, uint8_t *to)
{
  struct payload *payload = player->payload;
  if (value->what != VALUE_BYTES || value->form != P11T_V_SEALED || player->options->key == NULL) return false;
  if (!payload->asked_seal) seal_open_process(player->options->key, player->process, &payload->opened);
  payload->asked_seal = true;
  return payload->opened != NULL && seal_room(value) == value->length &&
         seal_open_value(payload->opened, value, to) == SEAL_OPENED;
}

bool payload_opens(struct player *player, const struct value *value)
{
  uint8_t bytes[1024];
  if (value->what != VALUE_BYTES || value->length > sizeof bytes || !opens(player, value, bytes)) return false;
  explicit_bzero(bytes, sizeof bytes);
  return true;
}

bool payload_pin_is_known(struct player *player, const struct value *value, enum payload_class class)
{
  return payload_pin(player, class) != NULL || payload_opens(player, value);
}

enum payload_how payload_fill(struct player *player, const struct value *value, uint8_t *to)
{
  size_t length = 0, room = (size_t)value->length;
  enum payload_how how = PAYLOAD_STAND_IN;
  const uint8_t *bytes = payload_find(player, value, &length, &how);
  if (bytes != NULL && length == room) {
    if (room > 0) memcpy(to, bytes, room);
    return how;
  }
  if (opens(player, value, to)) return PAYLOAD_RECORDED;
  /* A tag says it when all bytes are zero: then nothing is missing. */
  bool known = value_is_tagged(value) && (value->shape & P11T_SHAPE_ZERO);
  stand_in(value, to);
  if (value->form == P11T_V_CUT && value->kept > 0) memcpy(to, value->bytes, value->kept < room ? value->kept : room);
  if (room == 0 || known) return PAYLOAD_RECORDED;
  if (value_is_tagged(value)) kept_value_put(player->payload->kept, value->number, to, room, true);
  return PAYLOAD_STAND_IN;
}

/* CKA_EC_POINT is an OCTET STRING of the point (2.40, 2.3.3), and ECDH takes the point alone (2.3.13). */
static bool is_octet_string(const uint8_t *bytes, size_t length)
{
  return length > 2 + SHORTEST_NAMED && bytes[0] == 0x04 && bytes[1] < 0x80 && bytes[1] == length - 2;
}

static void rename_value(struct payload *payload, const uint8_t *then, size_t then_length, const uint8_t *now,
                         size_t length)
{
  payload->renamed = true;
  kept_value_put(payload->kept, payload_name(then, then_length), now, length, false);
}

void payload_learn(struct player *player, const struct value *value, const uint8_t *bytes, size_t length)
{
  struct payload *payload = player->payload;
  if (value->what != VALUE_BYTES) return;
  if (value_is_tagged(value)) {
    if (value->length > 0) kept_value_put(payload->kept, value->number, bytes, length, false);
    return;
  }
  if (!has_name(value)) return;
  if (length == value->kept && memcmp(bytes, value->bytes, length) == 0 &&
      (!payload->renamed || kept_value_find(payload->kept, payload_name(bytes, length)) == NULL)) {
    return;
  }
  rename_value(payload, value->bytes, value->kept, bytes, length);
  if (is_octet_string(value->bytes, value->kept) && is_octet_string(bytes, length)) {
    rename_value(payload, value->bytes + 2, value->kept - 2, bytes + 2, length - 2);
  }
}
