#include "decoder/replay/payload_kept.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/read/arena.h"

enum { SETS = 1 << 16, WAYS = 4, RING = 1 << 25, LONGEST = RING / 4 };

struct kept_values {
  uint64_t end; /* bytes ever put into the ring */
  uint8_t *ring;
  struct kept_value entry[SETS][WAYS];
};

struct kept_values *kept_values_new(void)
{
  struct kept_values *kept = read_zalloc(sizeof *kept);
  kept->ring = read_zalloc(RING);
  return kept;
}

void kept_values_free(struct kept_values *kept)
{
  if (kept == NULL) return;
  explicit_bzero(kept->ring, kept->end < RING ? (size_t)kept->end : RING);
  free(kept->ring);
  free(kept);
}

static size_t set_of(uint64_t key)
{
  return (size_t)((key * 0x9e3779b97f4a7c15ull) >> 48) & (SETS - 1);
}

static bool is_there(const struct kept_values *kept, const struct kept_value *value)
{
  return kept->end - value->at <= RING;
}

static struct kept_value *find(const struct kept_values *kept, uint64_t key)
{
  struct kept_value *set = (struct kept_value *)(uintptr_t)kept->entry[set_of(key)];
  for (unsigned i = 0; i < WAYS; i++) {
    if (set[i].key == key && is_there(kept, &set[i])) return &set[i];
  }
  return NULL;
}

const struct kept_value *kept_value_find(const struct kept_values *kept, uint64_t key)
{
  return find(kept, key == 0 ? 1 : key);
}

const uint8_t *kept_value_bytes(const struct kept_values *kept, const struct kept_value *value)
{
  return kept->ring + value->at % RING;
}

void kept_value_put(struct kept_values *kept, uint64_t key, const uint8_t *bytes, size_t length, bool stand_in)
{
  if (key == 0) key = 1;
  if (length > LONGEST) return;
  struct kept_value *value = find(kept, key);
  if (value != NULL && value->length == length && memcmp(kept_value_bytes(kept, value), bytes, length) == 0) {
    value->stand_in &= stand_in;
    return;
  }
  if (value == NULL) { /* a free one, or the one that was put first */
    struct kept_value *set = kept->entry[set_of(key)];
    value = set;
    for (unsigned i = 0; i < WAYS && value->key != 0; i++) {
      if (set[i].key == 0 || set[i].at < value->at) value = &set[i];
    }
  }
  /* A value lies in one piece: what is left of the ring before its end is passed over. */
  if (kept->end % RING + length > RING) kept->end += RING - kept->end % RING;
  *value = (struct kept_value){key, kept->end, (uint32_t)length, stand_in};
  memcpy(kept->ring + kept->end % RING, bytes, length);
  kept->end += length;
}
