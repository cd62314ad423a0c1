#include "decoder/write/raw.h"

#include <stdlib.h>
#include <string.h>

#include "shim/trace/frame.h"

/* p11t_frame_build has P11T_SLOT_SIZE for each column, of which a record takes at most 24 bytes. */
enum { MAX_RECORDS = P11T_SLOT_SIZE / 24 };

void raw_reset(struct raw *raw)
{
  raw->size = raw->records = 0;
}

void raw_add(struct raw *raw, const struct record *record)
{
  const size_t whole = (P11T_RAW + record->length + 7) & ~(size_t)7;
  if (raw->size + whole > raw->room) {
    raw->room = (raw->size + whole) * 2;
    raw->bytes = read_realloc(raw->bytes, raw->room);
  }
  const struct p11t_raw head = {.commit = (uint32_t)whole,
                                .kind = record->kind,
                                .flags = record->flags,
                                .function = (uint16_t)record->function,
                                .module = record->module,
                                .stack = (uint16_t)record->stack,
                                .body = (uint32_t)record->length,
                                .number = record->number,
                                .time = record->time,
                                .aux = record->aux};
  uint8_t *at = raw->bytes + raw->size;
  memset(at, 0, whole);
  memcpy(at, &head, sizeof head);
  if (record->length > 0) memcpy(at + P11T_RAW, record->body, record->length);
  raw->size += whole;
  raw->records++;
}

bool raw_fits(const struct raw *raw, size_t body)
{
  return raw->size + P11T_RAW + body + 8 <= P11T_SLOT_SIZE - P11T_SLOT_HEAD;
}

bool raw_write(struct raw *raw, struct out *out, struct p11t_info info)
{
  if (raw->records == 0) return true;
  if (raw->records > MAX_RECORDS || raw->size > MAX_CONTENT - P11T_FRAME_WORK) return false;
  const size_t room = raw->size + P11T_FRAME_WORK + sizeof info;
  if (raw->work == NULL) raw->work = read_zalloc(P11T_FRAME_WORK);
  if (raw->content_room < room) {
    free(raw->content);
    raw->content = read_zalloc(room);
    raw->content_room = room;
  }
  const size_t n = p11t_frame_build(raw->content, raw->work, raw->bytes, raw->size, &info);
  if (n > 0) out_frame(out, info, raw->content, n);
  return true;
}

void raw_free(struct raw *raw)
{
  free(raw->bytes);
  free(raw->work);
  free(raw->content);
  *raw = (struct raw){0};
}
