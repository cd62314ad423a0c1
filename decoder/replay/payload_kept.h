/* Values that came out of calls, by what the trace calls them. As many as fit: the oldest go, so that memory does not grow with
 * the trace. */
#ifndef REPLAY_PAYLOAD_KEPT_H
#define REPLAY_PAYLOAD_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kept_value {
  uint64_t key; /* of the recorded value; 0: free */
  uint64_t at;  /* in the ring, counted from the beginning of time */
  uint32_t length;
  uint32_t stand_in; /* made up: the same tag is to have the same bytes, but they are not those that were recorded */
};

struct kept_values;

struct kept_values *kept_values_new(void);
void kept_values_free(struct kept_values *kept);
/* NULL: not known, or forgotten. */
const struct kept_value *kept_value_find(const struct kept_values *kept, uint64_t key);
const uint8_t *kept_value_bytes(const struct kept_values *kept, const struct kept_value *value);
void kept_value_put(struct kept_values *kept, uint64_t key, const uint8_t *bytes, size_t length, bool stand_in);

#endif
