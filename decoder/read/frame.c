/* One frame to records: columns of a data frame, or the records of a live slot as they are. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "decoder/read/reader.h"

static ZSTD_DCtx *context(struct trace_set *set)
{
  if (set->zstd == NULL) {
    set->zstd = ZSTD_createDCtx();
    if (set->zstd == NULL) abort();
    ZSTD_DCtx_setParameter(set->zstd, ZSTD_d_windowLogMax, 24);
  }
  return set->zstd;
}

/* The content begins with what FRAME-INFO said. */
static bool same_info(const struct frame_ref *f, const uint8_t *content)
{
  struct cursor c = cursor_of(content, INFO_SIZE);
  return get_u32(&c) == P11T_INFO_MAGIC && get_u8(&c) == f->kind && get_u8(&c) == f->clock && get_u16(&c) == f->slot &&
         get_u32(&c) == 0 && get_u32(&c) == f->content && get_u32(&c) == f->tid && get_u32(&c) == f->generation;
}

bool frame_load(struct reader *r, const struct frame_ref *frame, uint8_t **to, size_t *capacity)
{
  const struct trace_file *f = &r->file[frame->file];
  ZSTD_DCtx *dctx = context(r->set);
  if (*capacity < frame->content) {
    free(*to);
    *to = read_zalloc(frame->content);
    *capacity = frame->content;
  }
  if (r->set->packed_room < frame->packed) {
    r->set->packed_room = frame->packed + (size_t)4096;
    r->set->packed = read_realloc(r->set->packed, r->set->packed_room);
  }
  if (!file_read(f->fd, r->set->packed, frame->packed, frame->offset)) {
    reader_damage(r, frame->packed, "%s: the frame at offset %" PRIu64 " is gone", f->path, frame->offset);
    return false;
  }
  size_t n = ZSTD_decompressDCtx(dctx, *to, frame->content, r->set->packed, frame->packed);
  if (ZSTD_isError(n) || n != frame->content || !same_info(frame, *to)) {
    reader_damage(r, frame->packed, "%s: the frame at offset %" PRIu64 " (%u bytes, %u records) is damaged: %s",
                  f->path, frame->offset, frame->packed, frame->records,
                  ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it does not hold what its header says");
    return false;
  }
  return true;
}

bool source_open(struct reader *r, struct source *s, const struct frame_ref *frame)
{
  s->frame = frame;
  s->sp = 0;
  s->records = 0;
  s->raw = frame->file == FILE_LIVE || frame->file == FILE_FED;
  if (frame->file == FILE_FED) {
    s->fed = frame->bytes;
    s->b = cursor_of(s->fed, frame->content);
    return true;
  }
  if (s->raw) {
    s->b = cursor_of(r->live_bytes + frame->offset, frame->content);
    return true;
  }
  if (!frame_load(r, frame, &s->content, &s->capacity)) return false;
  struct cursor c = cursor_of(s->content + INFO_SIZE, frame->content - INFO_SIZE);
  uint64_t h = get_n(&c), a = get_n(&c), t = get_n(&c);
  const uint8_t *ph = get_bytes(&c, h), *pa = get_bytes(&c, a), *pt = get_bytes(&c, t);
  if (c.bad) {
    reader_damage(r, frame->packed, "%s: the columns of the frame at offset %" PRIu64 " are longer than the frame",
                  r->file[frame->file].path, frame->offset);
    return false;
  }
  s->h = cursor_of(ph, h);
  s->a = cursor_of(pa, a);
  s->t = cursor_of(pt, t);
  s->b = c;
  s->number = frame->first_number;
  s->time = frame->first_time;
  return true;
}

/* Slots were checked when they were copied (live.c). */
static bool raw_next(struct source *s, struct record *record)
{
  struct cursor c = s->b;
  uint32_t commit = get_u32(&c);
  if (c.bad || commit < P11T_RAW || commit > cursor_left(&s->b)) return false;
  record->kind = get_u8(&c);
  record->flags = get_u8(&c);
  record->function = get_u16(&c);
  record->module = get_u16(&c);
  record->stack = get_u16(&c);
  uint32_t body = get_u32(&c);
  record->number = get_u64(&c);
  record->time = get_u64(&c);
  record->aux = get_u64(&c);
  if (body > commit - P11T_RAW) return false;
  record->body = c.at;
  record->length = body;
  s->b.at += commit;
  s->records++;
  return true;
}

bool source_next(struct reader *r, struct source *s, struct record *record)
{
  if (s->raw) return raw_next(s, record);
  if (cursor_left(&s->h) == 0) return false;
  *record = (struct record){0};
  record->kind = get_u8(&s->h);
  record->flags = get_u8(&s->h);
  if (record->kind == P11T_ENTER || record->kind == P11T_LEAVE) {
    uint64_t function = get_n(&s->h), module = get_n(&s->h), stack = get_n(&s->h);
    record->function = function < UINT32_MAX ? (uint32_t)function : UINT32_MAX;
    record->module = module <= UINT16_MAX ? (uint16_t)module : 0;
    record->stack = stack < UINT32_MAX ? (uint32_t)stack : 0;
  }
  uint64_t length = get_n(&s->h);
  if (P11T_NUMBERED(record->kind)) {
    record->number = s->number += get_z(&s->a);
    if (record->kind == P11T_ENTER) record->aux = s->sp += get_z(&s->a);
    if (record->kind == P11T_LEAVE) record->aux = record->number - get_n(&s->a);
    record->time = s->time += get_z(&s->t);
  }
  record->body = get_bytes(&s->b, length);
  record->length = (size_t)length;
  if (s->h.bad || s->a.bad || s->t.bad || s->b.bad) {
    reader_damage(r, s->frame->packed, "%s: record %u of the frame at offset %" PRIu64 " runs past its end",
                  r->file[s->frame->file].path, s->records + 1, s->frame->offset);
    s->h.at = s->h.end;
    return false;
  }
  s->records++;
  return true;
}

bool source_peek(struct reader *r, const struct source *s, uint8_t kind, struct record *record)
{
  struct source ahead = *s;
  struct cursor kinds = s->raw ? s->b : s->h;
  if (s->frame == NULL) return false;
  if (s->raw) get_u32(&kinds);
  return get_u8(&kinds) == kind && !kinds.bad && source_next(r, &ahead, record);
}

void source_close(struct source *s)
{
  free(s->content);
  free(s->fed);
  s->content = s->fed = NULL;
  s->capacity = 0;
}
